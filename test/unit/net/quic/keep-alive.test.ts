// How long a QUIC link lasts: as long as both ends are there, and a few seconds longer.
import { quic as stockQuic } from '@chainsafe/libp2p-quic';
import type { Connection, Libp2p } from '@libp2p/interface';
import { createLibp2p } from 'libp2p';
import { expect, it, onTestFinished } from 'vitest';
import { sleep, systemClock } from '../../../../src/util/clock.ts';
import { quicLimits } from '../../../../src/util/limits/net.ts';
import { type DelayedUdp, startDelayedUdp } from '../../../support/delayed-link.ts';
import { connectQuicHosts, portOf, quicAddress, quicHostOptions } from '../../../support/quic-host.ts';

it('an idle link outlives twice its idle timeout; without a keep-alive it does not', async () => {
  const ours = await connectQuicHosts();
  const without = await stockPair({ maxIdleTimeout: quicLimits.idleMs, keepAliveInterval: 60_000 });
  const states: string[] = [];
  closeOf(without).then(() => states.push('the one without is closed'));
  closeOf(ours.connection).then(() => states.push('ours is closed'));
  await sleep(systemClock, 2 * quicLimits.idleMs);
  expect(states).toEqual(['the one without is closed']);
  const [local, remote] = await ours.openPair();
  expect([local.status, remote.status]).toEqual(['open', 'open']);
});

it('notices a peer that is gone within seconds; the package with its own settings still believes in it', async () => {
  const relays: DelayedUdp[] = [];
  const dialAt = async (port: number): Promise<number> => {
    const relay = await startDelayedUdp(port, 0);
    onTestFinished(() => relay.close());
    relays.push(relay);
    return relay.port;
  };
  const ours = await connectQuicHosts('ours', { dialAt });
  const stock = await stockPair({}, dialAt);
  const closed = closeOf(ours.connection);
  for (const relay of relays) {
    relay.cut();
  }
  await closed;
  expect(stock.status).toBe('open');
});

/** Two hosts over the package's transport; the connection of the first to the second. */
async function stockPair(
  settings: Parameters<typeof stockQuic>[0],
  dialAt = async (port: number) => port,
): Promise<Connection> {
  const start = async (): Promise<Libp2p> => {
    const host = await createLibp2p({ ...quicHostOptions('stock'), transports: [stockQuic(settings)] });
    onTestFinished(async () => {
      await host.stop();
    });
    return host;
  };
  const [here, there] = await Promise.all([start(), start()]);
  return await here.dial(quicAddress(await dialAt(portOf(there)), there));
}

function closeOf(connection: Connection): Promise<void> {
  return new Promise((resolve) => {
    connection.addEventListener('close', () => resolve(), { once: true });
  });
}
