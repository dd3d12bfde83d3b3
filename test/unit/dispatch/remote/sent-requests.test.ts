// What a replica has to do now, by its last beat and by what was sent to it since.
import { describe, expect, it } from 'vitest';
import { SentRequests } from '../../../../src/dispatch/remote/sent-requests.ts';

describe('requests sent to a replica', () => {
  it('count on top of a beat that is older than they are', () => {
    const sent = new SentRequests(4_000);
    sent.begin(100);
    sent.begin(300);
    expect(sent.since(7, 200, 0)).toBe(8);
    expect(sent.since(7, 400, 0)).toBe(7);
  });

  it('count on top of a beat that was under way when they were sent', () => {
    const sent = new SentRequests(4_000);
    sent.begin(100);
    expect(sent.since(2, 110, 20)).toBe(3);
    expect(sent.since(2, 120, 20)).toBe(2);
    const brief = sent.begin(130);
    brief(150);
    expect(sent.since(2, 140, 20)).toBe(2);
  });

  it('are there at least, however late a beat is', () => {
    const sent = new SentRequests(4_000);
    sent.begin(100);
    sent.begin(110);
    expect(sent.since(0, 500, 20)).toBe(2);
  });

  it('are off what a beat has counted once they are over', () => {
    const sent = new SentRequests(4_000);
    const over = [sent.begin(100), sent.begin(110)];
    expect(sent.since(2, 200, 0)).toBe(2);
    for (const end of over) {
      end(250);
    }
    expect(sent.since(2, 200, 0)).toBe(0);
    expect(sent.since(2, 300, 0)).toBe(2);
  });

  it('count nothing if they began and ended since the beat', () => {
    const sent = new SentRequests(4_000);
    sent.begin(100)(200);
    expect(sent.since(1, 50, 0)).toBe(1);
  });

  it('never make less than nothing, whatever a beat says', () => {
    const sent = new SentRequests(4_000);
    sent.begin(100)(300);
    expect(sent.since(0, 200, 0)).toBe(0);
  });

  it('are forgotten when no beat that is believed can have counted them', () => {
    const sent = new SentRequests(4_000);
    for (let atMs = 0; atMs < 100_000; atMs += 10) {
      sent.begin(atMs)(atMs + 5);
    }
    expect(sent.remembered).toBeLessThan(500);
  });

  it('end once, however often that is said', () => {
    const sent = new SentRequests(4_000);
    const end = sent.begin(0);
    end(10);
    end(900);
    expect(sent.since(1, 20, 0)).toBe(1);
  });
});
