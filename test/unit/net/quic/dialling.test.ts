// Who gets a connection, how soon, and what becomes of a dial that nobody wants any more.
import { generateKeyPair } from '@libp2p/crypto/keys';
import type { Connection } from '@libp2p/interface';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { multiaddr } from '@multiformats/multiaddr';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { sleep, systemClock } from '../../../../src/util/clock.ts';
import { boundSocket } from '../../../support/bound-socket.ts';
import {
  bareTransport,
  noUpgrader,
  portOf,
  type QuicKind,
  quicAddress,
  startQuicHost,
} from '../../../support/quic-host.ts';
import { startUdpRelay } from '../../../support/udp-relay.ts';

it('twelve hosts that dial one at once are all connected', async () => {
  const listener = await startQuicHost();
  const diallers = await Promise.all(Array.from({ length: 12 }, () => startQuicHost()));
  const connections = await Promise.all(
    diallers.map((dialler) => dialler.dial(quicAddress(portOf(listener), listener))),
  );
  expect(connections.every(({ status }) => status === 'open')).toBe(true);
  await vi.waitFor(() => expect(listener.getConnections()).toHaveLength(12));
});

it('a dial that expects another peer fails, and says who answered', async () => {
  const [dialler, listener] = await Promise.all([startQuicHost(), startQuicHost()]);
  const somebodyElse = peerIdFromPrivateKey(await generateKeyPair('Ed25519'));
  const address = multiaddr(`/ip4/127.0.0.1/udp/${portOf(listener)}/quic-v1/p2p/${somebodyElse}`);
  await expect(dialler.dial(address)).rejects.toMatchObject({
    code: 'peer_key_mismatch',
    message: expect.stringContaining(`${listener.peerId} answered`),
  });
  expect(dialler.getConnections()).toEqual([]);
});

it('a dial to a port where nobody answers fails when the handshake has been silent long enough', async () => {
  const dialler = await startQuicHost();
  const dialling = dialler.dial(quicAddress(await silentPort()), { signal: AbortSignal.timeout(8_000) });
  await expect(dialling).rejects.toMatchObject({ code: 'peer_unreachable' });
});

describe('a handshake that never goes on', () => {
  /** Milliseconds an honest dial takes while another client has sent one datagram and nothing since; at most 2 s. */
  async function honestDialMs(kind: QuicKind): Promise<number> {
    const [listener, honest] = await Promise.all([startQuicHost(kind), startQuicHost(kind)]);
    const relay = await startUdpRelay(portOf(listener));
    relay.pass = (from) => from === 'client' && relay.seen.client === 1;
    const halfOpen = new AbortController();
    const { transport } = await bareTransport(kind);
    transport
      .dial(quicAddress(relay.port), { signal: halfOpen.signal, upgrader: noUpgrader })
      .catch(() => {});
    onTestFinished(() => halfOpen.abort());
    await relay.nextFromClient();
    const from = performance.now();
    const dialling = honest.dial(quicAddress(portOf(listener)), { signal: AbortSignal.timeout(8_000) });
    dialling.catch(() => {});
    await Promise.race([dialling, sleep(systemClock, 2_000)]);
    return performance.now() - from;
  }

  it('does not hold up an honest dial', async () => {
    expect(await honestDialMs('ours')).toBeLessThan(1_000);
  });

  it('(holds up every other with the transport that we replace)', async () => {
    expect(await honestDialMs('stock')).toBeGreaterThan(1_900);
  });
});

describe('an aborted dial', () => {
  /** What a dial to a silent port, aborted after 50 ms, has come to 500 ms later. */
  async function abortedDial(kind: QuicKind): Promise<unknown> {
    const { transport } = await bareTransport(kind);
    const abort = new AbortController();
    const dialling = transport.dial(quicAddress(await silentPort()), {
      signal: abort.signal,
      upgrader: noUpgrader,
    });
    const outcome = dialling.then(
      () => 'connected',
      (cause: Error) => cause.name,
    );
    await sleep(systemClock, 50);
    abort.abort();
    return await Promise.race([outcome, sleep(systemClock, 500).then(() => 'still dialling')]);
  }

  it('rejects at once', async () => {
    expect(await abortedDial('ours')).toBe('AbortError');
  });

  it('(goes on with the transport that we replace)', async () => {
    expect(await abortedDial('stock')).toBe('still dialling');
  });

  it('closes the connection if it is made after all', async () => {
    const listener = await startQuicHost();
    const relay = await startUdpRelay(portOf(listener));
    const { transport } = await bareTransport('ours');
    const abort = new AbortController();
    // The answer is held back until nobody waits for it; QUIC asks again by itself.
    relay.pass = () => abort.signal.aborted;
    const dialling = transport.dial(quicAddress(relay.port), { signal: abort.signal, upgrader: noUpgrader });
    await relay.nextFromClient();
    abort.abort();
    await expect(dialling).rejects.toMatchObject({ name: 'AbortError' });
    const connection = await new Promise<Connection>((resolve) =>
      listener.addEventListener('connection:close', ({ detail }) => resolve(detail)),
    );
    expect(connection.timeline.close).toBeDefined();
    expect(listener.getConnections()).toEqual([]);
  });
});

/** A UDP port that takes datagrams and never answers. */
async function silentPort(): Promise<number> {
  return (await boundSocket()).address().port;
}
