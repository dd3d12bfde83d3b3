// What is remembered of contacts with peers: why the last failed, and how far apart the clocks are.
import { describe, expect, it } from 'vitest';
import { PeerContacts } from '../../../src/node/peer-contacts.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { nodeLimits } from '../../../src/util/limits/node.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const attempts = [{ address: '/ip4/192.0.2.1/tcp/1', reason: 'connect ECONNREFUSED' }];
const unreachable = new MeshnodeError('peer_unreachable', 'bee was not reached.', { data: { attempts } });

function setUp() {
  const clock = new ManualClock(1_000_000);
  return { clock, contacts: new PeerContacts(clock) };
}

describe('the last failure', () => {
  it('names the addresses that were dialled', () => {
    const { clock, contacts } = setUp();
    contacts.dialFailed('bee', unreachable);
    const atMs = clock.monotonicMs();
    expect(contacts.failureOf('bee')).toEqual({
      ...{ code: 'peer_unreachable', message: 'bee was not reached.' },
      ...{ atMs, attempts },
    });
  });

  it('is that one side does not let the other in', () => {
    const { contacts } = setUp();
    const why = { code: 'clock_skewed', message: 'The clock is off.' } as const;
    contacts.hear({ type: 'refused', peer: 'bee', ...why });
    contacts.hear({ type: 'rejected', peer: 'cat', ...why });
    expect(contacts.failureOf('bee')?.message).toBe('It does not let this node in: The clock is off.');
    expect(contacts.failureOf('cat')?.message).toBe('This node does not let it in: The clock is off.');
  });

  it('is forgotten once the two talk, or the peer has left', () => {
    const { contacts } = setUp();
    contacts.dialFailed('bee', unreachable);
    contacts.dialFailed('cat', unreachable);
    contacts.hear({ type: 'up', peer: 'bee' });
    contacts.hear({ type: 'left', peer: 'cat' });
    expect([contacts.failureOf('bee'), contacts.failureOf('cat')]).toEqual([undefined, undefined]);
  });

  it('is kept of a bounded number of peers, the last ones', () => {
    const { contacts } = setUp();
    for (let peer = 0; peer <= nodeLimits.peerContacts; peer++) {
      contacts.dialFailed(String(peer), unreachable);
      contacts.toldTime(String(peer), 0);
    }
    expect([contacts.failureOf('0'), contacts.timeOf('0')]).toEqual([undefined, undefined]);
    expect(contacts.failureOf('1')).toBeDefined();
    expect(contacts.timeOf(String(nodeLimits.peerContacts))).toBeDefined();
  });
});

describe('the difference of clocks', () => {
  it('is by the greeting of a link that took the least time', () => {
    const { clock, contacts } = setUp();
    contacts.toldTime('bee', clock.wallMs() + 60_000 - 300);
    contacts.toldTime('bee', clock.wallMs() + 60_000 - 20);
    contacts.toldTime('bee', clock.wallMs() + 60_000 - 100);
    expect(contacts.timeOf('bee')?.aheadMs).toBe(60_000 - 20);
  });

  it('is taken anew by the next link: one of the clocks may have been set', async () => {
    const { clock, contacts } = setUp();
    contacts.toldTime('bee', clock.wallMs() + 60_000);
    await clock.advance(nodeLimits.greetingsMs + 1);
    contacts.toldTime('bee', clock.wallMs() - 5);
    expect(contacts.timeOf('bee')).toEqual({ aheadMs: -5, atMs: clock.monotonicMs() });
  });
});
