// When a link that has fallen silent is given up, and when not; alone, and as part of a real host.
import type { Connection } from '@libp2p/interface';
import { describe, expect, it } from 'vitest';
import { createHost } from '../../../src/net/host.ts';
import { LinkPulse } from '../../../src/net/link-pulse.ts';
import { raceSignal } from '../../../src/util/async.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { netLimits } from '../../../src/util/limits/net.ts';
import { silentLogger } from '../../../src/util/logging.ts';
import { systemRandom } from '../../../src/util/random.ts';
import { startDelayedTcp } from '../../support/delayed-link.ts';
import { hurriedClock } from '../../support/hurried-clock.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { testHost } from '../../support/test-host.ts';

/** What happens to a ping, in turn; the last goes on for ever. */
type Answer = 'answered' | 'refused' | 'silent';

function setUp(...answers: Answer[]) {
  const clock = new ManualClock();
  const pingsMs: number[] = [];
  const connection = new FakeConnection();
  new LinkPulse(connection, {
    clock,
    ping: async (signal) => {
      const answer = answers[Math.min(pingsMs.length, answers.length - 1)];
      pingsMs.push(clock.monotonicMs());
      if (answer === 'refused') {
        throw new MeshnodeError('protocol_refused', 'no');
      }
      if (answer === 'silent') {
        await raceSignal(Promise.withResolvers<void>().promise, signal);
      }
    },
  });
  return { clock, pingsMs, connection };
}

class FakeConnection extends EventTarget {
  status: Connection['status'] = 'open';

  abort(): void {
    this.status = 'aborted';
    this.dispatchEvent(new Event('close'));
  }
}

const bothMs = netLimits.linkPingMs + netLimits.pingMs;

describe('a link', () => {
  it('is pinged every ten seconds for as long as it is open', async () => {
    const { clock, pingsMs, connection } = setUp('answered');
    await clock.advance(3 * netLimits.linkPingMs);
    expect(pingsMs).toEqual([10_000, 20_000, 30_000]);
    connection.abort();
    expect(clock.pendingTimers).toBe(0);
  });

  it('is given up after two pings in a row that nothing came back for', async () => {
    const { clock, connection } = setUp('answered', 'silent');
    await clock.advance(netLimits.linkPingMs + 2 * bothMs - 1);
    expect(connection.status).toBe('open');
    await clock.advance(1);
    expect(connection.status).toBe('aborted');
    expect(clock.pendingTimers).toBe(0);
  });

  it('is kept if every other ping is lost', async () => {
    const { clock, connection } = setUp('silent', 'answered', 'silent', 'answered');
    await clock.advance(4 * bothMs);
    expect(connection.status).toBe('open');
  });

  it('is kept if the peer, or this node itself, refuses pings', async () => {
    const { clock, pingsMs, connection } = setUp('refused');
    await clock.advance(5 * bothMs);
    expect(connection.status).toBe('open');
    expect(pingsMs.length).toBeGreaterThan(2);
  });

  it('that is closed while a ping is under way is pinged no more', async () => {
    const { clock, pingsMs, connection } = setUp('silent');
    await clock.advance(netLimits.linkPingMs);
    connection.abort();
    await clock.advance(5 * bothMs);
    expect(pingsMs).toHaveLength(1);
    expect(clock.pendingTimers).toBe(0);
  });
});

it('a host gives up a TCP link on which everything is held back', { timeout: 15_000 }, async () => {
  const there = await testHost();
  const port = Number(/tcp\/(\d+)/.exec(there.addresses()[0] ?? '')?.[1]);
  const relay = await startDelayedTcp(port, 0);
  const options = { listen: { host: '127.0.0.1', port: 0 }, announce: [], gate: () => true };
  const here = await createHost(
    { ...options, keySeed: systemRandom.bytes(32), transports: { tcp: true, quic: false } },
    { clock: hurriedClock(10, netLimits.pingMs), random: systemRandom, log: silentLogger },
  );
  const closed = new Promise<string>((resolve) => {
    here.onLink(({ type, link }) => type === 'closed' && resolve(link.peer));
  });
  await here.dial(there.peerId, [`/ip4/127.0.0.1/tcp/${relay.port}`]);
  relay.freeze();
  expect(await closed).toBe(there.peerId);
  await Promise.all([here.close(), there.close()]);
  await relay.close();
});
