import { describe, expect, it } from 'vitest';
import { Pulse, type Silence } from '../../../src/mesh/pulse.ts';
import { beatLimits } from '../../../src/util/limits/mesh.ts';
import { pathLimits } from '../../../src/util/limits/net.ts';

const peer = '12D3KooWPulse';
const newPulse = (): Pulse => new Pulse(peer, 0);

/** One beat that takes `rttMs` there and back. */
function beat(pulse: Pulse, atMs: number, rttMs: number): void {
  pulse.sent(`beat of ${atMs}`, atMs);
  pulse.answered(`beat of ${atMs}`, atMs + rttMs);
}

function silenceUntil(dueMs: number): Silence {
  return {
    probe: '',
    helpers: new Set(),
    isAsking: true,
    dueMs,
    isVouchedFor: false,
    known: undefined,
    isGone: false,
    pronounced: undefined,
  };
}

describe('the lateness of a pulse', () => {
  /** One that is beaten from the first second on. */
  function beatenPulse(): Pulse {
    const pulse = newPulse();
    pulse.beatenMs = 0;
    return pulse;
  }
  const hear = (pulse: Pulse, ...atMs: number[]): void => {
    for (const ms of atMs) {
      pulse.heard(ms);
    }
  };

  it('is what words were late by more than once within a minute', () => {
    const pulse = beatenPulse();
    hear(pulse, 1_000, 2_400);
    expect(pulse.awaited(2_400)).toEqual({ sinceMs: 2_400, lateMs: 0 });
    hear(pulse, 4_300, 6_000, 7_300);
    expect(pulse.awaited(7_400)).toEqual({ sinceMs: 7_300, lateMs: 700 });
    expect(pulse.awaited(4_300 + beatLimits.latenessMs)?.lateMs).toBe(700);
    expect(pulse.awaited(4_301 + beatLimits.latenessMs)?.lateMs).toBe(300);
    expect(pulse.awaited(6_001 + beatLimits.latenessMs)?.lateMs).toBe(0);
  });

  it('is none if all were late at once, as when this process did not run', () => {
    const pulse = beatenPulse();
    hear(pulse, 1_000, 3_900, 3_900, 4_000, 5_000);
    expect(pulse.awaited(5_000)?.lateMs).toBe(0);
  });

  it('is none if words come in time, however many', () => {
    const pulse = beatenPulse();
    hear(pulse, 1_000, 1_100, 1_100, 2_000, 3_000);
    expect(pulse.awaited(3_000)).toEqual({ sinceMs: 3_000, lateMs: 0 });
  });

  it('is not that of the word which ends a silence, nor of the time in which nobody beat', () => {
    const pulse = beatenPulse();
    for (const atMs of [10_000, 20_000]) {
      pulse.silence = silenceUntil(atMs);
      hear(pulse, atMs);
    }
    expect(pulse.awaited(20_000)?.lateMs).toBe(0);
    pulse.beatenMs = undefined;
    hear(pulse, 30_000, 40_000);
    expect(pulse.awaited(40_000)).toBeUndefined();
    pulse.beatenMs = 50_000;
    hear(pulse, 50_900);
    expect(pulse.awaited(50_900)?.lateMs).toBe(0);
  });
});

describe('the round trips of a pulse', () => {
  it('are not known before a beat was answered', () => {
    expect(newPulse().rtt(0)).toBeUndefined();
  });

  it('are told as their median and their 95th percentile', () => {
    const pulse = newPulse();
    for (let second = 0; second < 20; second++) {
      beat(pulse, second * 1_000, second % 10 === 0 ? 90 : 20);
    }
    const rtt = pulse.rtt(20_000);
    expect(rtt?.p50Ms).toBeCloseTo(20);
    expect(rtt?.p95Ms).toBeCloseTo(90);
  });

  it('rise with the way, and fade: a lasting change is the median after a few half-lives', () => {
    const pulse = newPulse();
    for (let second = 0; second < 60; second++) {
      beat(pulse, second * 1_000, second < 30 ? 10 : 200);
    }
    expect(pulse.rtt(60_000)?.p50Ms).toBeCloseTo(200);
    expect(pulse.rtt(60_000 + pathLimits.rttWindow.memoryMs)).toBeUndefined();
  });

  it.each([
    ['a nonce that never went out', (pulse: Pulse) => pulse.answered('none', 10)],
    ['the nonce of an answered beat', (pulse: Pulse) => pulse.answered('beat of 0', 10)],
  ])('are not measured by %s', (_, answer) => {
    const pulse = newPulse();
    beat(pulse, 0, 80);
    expect(answer(pulse)).toBe(false);
    expect(pulse.rtt(100)).toEqual({ p50Ms: 80, p95Ms: 80 });
  });

  it('are not measured by beats that went out too long ago to be remembered', () => {
    const pulse = newPulse();
    for (let count = 0; count <= beatLimits.unanswered; count++) {
      pulse.sent(String(count), count);
    }
    expect(pulse.answered('0', 100)).toBe(false);
    expect(pulse.answered('1', 100)).toBe(true);
  });

  it('are not measured over a time in which this process did not run', () => {
    const pulse = newPulse();
    pulse.sent('before', 0);
    pulse.excuse(9_000, 9_500);
    expect(pulse.answered('before', 9_600)).toBe(false);
  });
});

describe('a flood of beats', () => {
  it('is answered so many times a second, and again in the next', () => {
    const pulse = newPulse();
    const answers = (fromMs: number): number =>
      Array.from({ length: 100 }, (_, index) => pulse.mayAnswer(fromMs + index)).filter(Boolean).length;
    expect(answers(0)).toBe(beatLimits.answersPerSecond);
    expect(answers(500)).toBe(0);
    expect(answers(1_100)).toBe(beatLimits.answersPerSecond);
  });
});

describe('silence', () => {
  it('is due three beats after the last word, and never of who is not beaten', () => {
    const pulse = newPulse();
    expect(pulse.dueMs).toBe(Number.POSITIVE_INFINITY);
    pulse.beatenMs = 0;
    pulse.heard(5_000);
    expect(pulse.dueMs).toBe(5_000 + beatLimits.silentMs);
  });

  it('is due three beats after the first beat to who is beaten anew, however long ago its last word was', () => {
    const pulse = newPulse();
    pulse.heard(1_000);
    pulse.beatenMs = 60_000;
    expect(pulse.dueMs).toBe(60_000 + beatLimits.silentMs);
  });

  it('is due as much later as this process did not run', () => {
    const pulse = newPulse();
    pulse.beatenMs = 0;
    pulse.heard(4_000);
    pulse.excuse(10_000, 14_500);
    expect(pulse.dueMs).toBe(14_000 + beatLimits.silentMs);
  });

  it('is not due before what came meanwhile could be read', () => {
    const pulse = newPulse();
    pulse.beatenMs = 0;
    pulse.heard(1_000);
    const wakeMs = 1_000 + beatLimits.silentMs + 10_000;
    pulse.excuse(10_000, wakeMs);
    expect(pulse.dueMs).toBe(wakeMs + beatLimits.lateMs);
    // Once: a machine that is always late would find nobody silent otherwise.
    pulse.excuse(300, pulse.dueMs + 300);
    expect(pulse.dueMs).toBe(wakeMs + beatLimits.lateMs + 300);
  });

  it('has its verdict later, too, and ends with a word', () => {
    const pulse = newPulse();
    pulse.silence = silenceUntil(5_000);
    pulse.excuse(2_000, 4_000);
    expect(pulse.dueMs).toBe(7_000);
    pulse.beatenMs = 0;
    pulse.heard(8_000);
    expect(pulse.silence).toBeUndefined();
    expect(pulse.dueMs).toBe(8_000 + beatLimits.silentMs);
  });
});
