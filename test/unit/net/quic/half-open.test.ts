// The native library answers one handshake per call that waits for a connection, and the package makes one call after
// the other: a single client that never goes on keeps everybody out. Our listener has many calls outstanding.
import { expect, it, vi } from 'vitest';
import { sleep, systemClock } from '../../../../src/util/clock.ts';
import { startHalfOpenClients } from '../../../support/half-open-quic.ts';
import { portOf, quicAddress, startQuicHost } from '../../../support/quic-host.ts';

/** With one honest dial beside them they need 32 calls, the fewest that the design allows. */
const clients = 31;

it('is in a handshake with 31 clients that never go on, and still takes another', async () => {
  const [listener, honest] = await Promise.all([startQuicHost(), startQuicHost()]);
  const halfOpen = await startHalfOpenClients(portOf(listener), clients);
  await halfOpen.reach(clients);
  const connection = await honest.dial(quicAddress(portOf(listener), listener));
  expect(connection.status).toBe('open');
  await vi.waitFor(() => expect(listener.getConnections()).toHaveLength(1));
});

it('(the transport that we replace answers one of them at a time, and keeps everybody else out)', async () => {
  const [listener, honest] = await Promise.all([startQuicHost('stock'), startQuicHost()]);
  const halfOpen = await startHalfOpenClients(portOf(listener), clients);
  await halfOpen.reach(1);
  const dialling = honest.dial(quicAddress(portOf(listener), listener), {
    signal: AbortSignal.timeout(8_000),
  });
  dialling.catch(() => {});
  const outcome = dialling.then(() => 'connected');
  expect(await Promise.race([outcome, sleep(systemClock, 1_500).then(() => 'waiting')])).toBe('waiting');
  // One at a time, each for as long as a handshake may be silent: no second one yet, but on a very slow machine.
  expect(halfOpen.answered()).toBeLessThanOrEqual(3);
});
