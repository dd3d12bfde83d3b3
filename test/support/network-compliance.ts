// The one suite that every Network passes, real or in memory, tested through nothing but its interface.
import { createHash } from 'node:crypto';
import { afterEach, describe, expect, it } from 'vitest';
import type { Gate, LinkEvent, Network, PathKind, PeerStream } from '../../src/net/network.ts';
import { type ProtocolId, protocols } from '../../src/trust/gate.ts';
import { KeyPair, type PeerId } from '../../src/trust/keys.ts';
import { sleep, systemClock } from '../../src/util/clock.ts';
import { MeshnodeError } from '../../src/util/errors.ts';
import { systemRandom } from '../../src/util/random.ts';
import { mostGrownBytes, peerStreamEnds, runSlowReader, shortPause } from './slow-reader.ts';
import { rejectionOf } from './thrown.ts';

/** How the suite makes networks of one kind. */
export interface NetworkKind {
  readonly path: PathKind;
  make(keySeed: Uint8Array, gate: Gate): Promise<Network>;
  /** Addresses of this kind where nobody listens. */
  readonly deadAddresses: readonly string[];
}

const open: Gate = () => true;
const { infer, join, blob } = protocols;

export function describeNetwork(name: string, kind: NetworkKind): void {
  describe(`${name} as a network`, () => {
    const networks: Network[] = [];
    afterEach(async () => {
      await Promise.all(networks.splice(0).map((network) => network.close()));
    });

    const make = async (gate: Gate = open): Promise<Network> => {
      const network = await kind.make(systemRandom.bytes(32), gate);
      networks.push(network);
      return network;
    };
    const dial = (from: Network, to: Network): Promise<void> => from.dial(to.peerId, to.addresses());
    const pair = async (gates: { here?: Gate; there?: Gate } = {}): Promise<[Network, Network]> => {
      const here = await make(gates.here);
      const there = await make(gates.there);
      const linked = nextLink(there, 'opened');
      await dial(here, there);
      await linked;
      return [here, there];
    };

    it('links two peers and tells both of it', async () => {
      const here = await make();
      const there = await make();
      const events: LinkEvent[] = [];
      here.onLink((event) => events.push(event));
      const seen = nextLink(there, 'opened');
      await dial(here, there);
      expect(here.links()).toMatchObject([{ peer: there.peerId, path: kind.path, direction: 'outbound' }]);
      expect(await seen).toMatchObject({ link: { peer: here.peerId, direction: 'inbound' }, remaining: 1 });
      expect(events).toMatchObject([{ type: 'opened', remaining: 1 }]);
      expect(here.links()[0]?.remoteAddress).not.toContain(there.peerId);
    });

    it('does nothing for a peer that is linked, and dials once for two callers', async () => {
      const here = await make();
      const there = await make();
      await Promise.all([dial(here, there), dial(here, there)]);
      await here.dial(there.peerId, []);
      expect(here.links()).toHaveLength(1);
    });

    it('carries bytes both ways', async () => {
      const [here, there] = await pair();
      there.handle(infer, echo, { streamsPerPeer: 4 });
      const stream = await here.open(there.peerId, infer);
      await stream.write(bytesOf('one'));
      expect(await readBytes(stream, 3)).toEqual(bytesOf('one'));
      const much = systemRandom.bytes(3 * 2 ** 20);
      const answer = readAll(stream);
      await stream.write(much);
      await stream.end();
      expect(digest([await answer])).toBe(digest([much]));
      await stream.closed;
    });

    it('lets the other side answer after this one has ended', async () => {
      const [here, there] = await pair();
      there.handle(
        infer,
        async (stream) => {
          const question = await readAll(stream);
          await stream.write(bytesOf(`${question.length} bytes`));
        },
        { streamsPerPeer: 1 },
      );
      const stream = await here.open(there.peerId, infer);
      await stream.write(new Uint8Array(5));
      await stream.end();
      expect(await readAll(stream)).toEqual(bytesOf('5 bytes'));
      expect(await stream.read()).toBeUndefined();
      await stream.closed;
    });

    it('shows an abort as an error on the other side, never as an end', async () => {
      const [here, there] = await pair();
      const served = serveOne(there, infer);
      const stream = await here.open(there.peerId, infer);
      await stream.write(bytesOf('x'));
      const other = await served;
      expect(await other.read()).toEqual(bytesOf('x'));
      const reading = rejectionOf(other.read());
      stream.abort(new Error('no more'));
      expect(await reading).toMatchObject({ code: 'stream_broken' });
      expect(await rejectionOf(other.read())).toMatchObject({ code: 'stream_broken' });
      expect(await rejectionOf(writeOn(other))).toMatchObject({ code: 'stream_broken' });
      expect(await rejectionOf(stream.read())).toMatchObject({ code: 'stream_broken' });
      expect(await rejectionOf(stream.write(bytesOf('y')))).toMatchObject({ code: 'stream_broken' });
      await Promise.all([stream.closed, other.closed]);
      stream.abort(new Error('again'));
    });

    it('aborts the stream of a handler that fails', async () => {
      const [here, there] = await pair();
      there.handle(
        infer,
        async (stream) => {
          await stream.read();
          throw new Error('handler failed');
        },
        { streamsPerPeer: 1 },
      );
      const stream = await here.open(there.peerId, infer);
      await stream.write(bytesOf('x'));
      expect(await rejectionOf(stream.read())).toMatchObject({ code: 'stream_broken' });
      await stream.closed;
    });

    it('stops a read by its signal, and the stream goes on', async () => {
      const [here, there] = await pair();
      there.handle(infer, echo, { streamsPerPeer: 1 });
      const stream = await here.open(there.peerId, infer);
      const stop = new AbortController();
      const reading = rejectionOf(stream.read(stop.signal));
      stop.abort(new MeshnodeError('cancelled', 'changed my mind'));
      expect(await reading).toMatchObject({ message: 'changed my mind' });
      await stream.write(bytesOf('still here'));
      expect(await readBytes(stream, 10)).toEqual(bytesOf('still here'));
    });

    it('holds the writer in bounded memory while the reader stands still, then delivers everything', {
      timeout: 60_000,
    }, async () => {
      const [here, there] = await pair();
      const served = serveOne(there, infer);
      const stream = await here.open(there.peerId, infer);
      await stream.write(bytesOf('?'));
      const other = await served;
      await readBytes(other, 1);
      const outcome = await runSlowReader(peerStreamEnds(stream, other), shortPause);
      expect(outcome).toMatchObject({
        receivedBytes: shortPause.sizeBytes,
        intact: true,
        error: undefined,
      });
      expect(outcome.sentWhilePausedBytes).toBeLessThan(16 * 2 ** 20);
      expect(outcome.grownBytes).toBeLessThan(mostGrownBytes);
    });

    it('holds it again when the reader stops in the middle', { timeout: 30_000 }, async () => {
      const [here, there] = await pair();
      const served = serveOne(there, infer);
      const stream = await here.open(there.peerId, infer);
      const piece = systemRandom.bytes(64 * 1024);
      const pieces = 512;
      let written = 0;
      const writing = (async () => {
        for (; written < pieces; written++) {
          await stream.write(piece);
        }
        await stream.end();
      })();
      const other = await served;
      const parts: Uint8Array[] = [];
      for (const share of [0.2, 0.4, 0.6, 0.8, 1]) {
        await readInto(other, parts, share * pieces * piece.length);
        await standsStill(() => written);
        expect(written * piece.length - lengthOf(parts)).toBeLessThan(16 * 2 ** 20);
      }
      await writing;
      expect(digest([...parts, await readAll(other)])).toBe(
        digest(Array.from({ length: pieces }, () => piece)),
      );
    });

    it('calls a handler once for each of a hundred streams', { timeout: 30_000 }, async () => {
      const [here, there] = await pair();
      let calls = 0;
      there.handle(
        infer,
        async (stream) => {
          calls++;
          await echo(stream);
        },
        { streamsPerPeer: 100 },
      );
      for (let round = 0; round < 5; round++) {
        await Promise.all(
          Array.from({ length: 20 }, async (_, index) => {
            const stream = await here.open(there.peerId, infer);
            await stream.write(bytesOf(`${round}:${index}`));
            await stream.end();
            expect(await readAll(stream)).toEqual(bytesOf(`${round}:${index}`));
            await stream.closed;
          }),
        );
      }
      expect(calls).toBe(100);
    });

    it('refuses what its own gate refuses, without asking the peer', async () => {
      const [here, there] = await pair({ here: (_, protocol) => protocol === join });
      let calls = 0;
      const count = async (): Promise<void> => {
        calls++;
      };
      there.handle(infer, count, { streamsPerPeer: 1 });
      there.handle(join, count, { streamsPerPeer: 1 });
      expect(await rejectionOf(here.open(there.peerId, infer))).toMatchObject({ code: 'protocol_refused' });
      const stream = await here.open(there.peerId, join);
      await stream.end();
      expect(await stream.read()).toBeUndefined();
      expect(calls).toBe(1);
    });

    it('refuses a protocol that nobody serves', async () => {
      const [here, there] = await pair();
      expect(await rejectionOf(here.open(there.peerId, blob))).toMatchObject({ code: 'protocol_refused' });
    });

    it('never calls a handler that the gate does not let a peer reach', async () => {
      const asked: string[] = [];
      const [here, there] = await pair({
        there: (peer, protocol) => {
          asked.push(`${peer} ${protocol}`);
          return protocol !== infer;
        },
      });
      let calls = 0;
      there.handle(
        infer,
        async () => {
          calls++;
        },
        { streamsPerPeer: 1 },
      );
      const refused = await rejectionOf(here.open(there.peerId, infer).then((stream) => stream.read()));
      expect(refused.code).toMatch(/^(?:protocol_refused|stream_broken)$/);
      expect(calls).toBe(0);
      expect(asked).toContain(`${here.peerId} ${infer}`);
    });

    it('bounds the streams a peer has at one handler', async () => {
      const [here, there] = await pair();
      there.handle(infer, echo, { streamsPerPeer: 2 });
      const first = await opened(here, there, infer);
      const second = await opened(here, there, infer);
      const third = await rejectionOf(opened(here, there, infer));
      expect(third.code).toMatch(/^(?:protocol_refused|stream_broken)$/);
      await first.end();
      expect(await first.read()).toBeUndefined();
      await first.closed;
      await eventually(async () => {
        await (await opened(here, there, infer)).end();
      });
      await second.write(bytesOf('unharmed'));
      expect(await readBytes(second, 8)).toEqual(bytesOf('unharmed'));
    });

    it('breaks every stream when it disconnects, and both sides hear of it', async () => {
      const [here, there] = await pair();
      const served = serveOne(there, infer);
      const stream = await here.open(there.peerId, infer);
      await stream.write(bytesOf('x'));
      const other = await served;
      await other.read();
      const heard = [nextLink(here, 'closed'), nextLink(there, 'closed')];
      const broken = [rejectionOf(stream.read()), rejectionOf(other.read())];
      await here.disconnect(there.peerId);
      expect(await Promise.all(broken)).toMatchObject([{ code: 'stream_broken' }, { code: 'stream_broken' }]);
      expect(await Promise.all(heard)).toMatchObject([{ remaining: 0 }, { remaining: 0 }]);
      await Promise.all([stream.closed, other.closed]);
      expect(here.links()).toEqual([]);
      expect(await rejectionOf(here.open(there.peerId, infer))).toMatchObject({ code: 'peer_unreachable' });
      expect(await rejectionOf(here.ping(there.peerId))).toMatchObject({ code: 'peer_unreachable' });
    });

    it('can be linked again after a disconnect', async () => {
      const [here, there] = await pair();
      there.handle(infer, echo, { streamsPerPeer: 1 });
      const gone = nextLink(there, 'closed');
      await here.disconnect(there.peerId);
      await gone;
      await dial(here, there);
      await (await opened(here, there, infer)).end();
    });

    it('notices that the peer has closed', async () => {
      const [here, there] = await pair();
      const gone = nextLink(here, 'closed');
      await there.close();
      expect(await gone).toMatchObject({ link: { peer: there.peerId }, remaining: 0 });
    });

    it('tells a peer of another key from one that does not answer', async () => {
      const here = await make();
      const there = await make();
      const nobody = somePeer();
      expect(await rejectionOf(here.dial(nobody, there.addresses()))).toMatchObject({
        code: 'peer_key_mismatch',
      });
      expect(await rejectionOf(here.dial(nobody, kind.deadAddresses))).toMatchObject({
        code: 'peer_unreachable',
      });
      expect(here.links()).toEqual([]);
    });

    it('gives up dead addresses in bounded time, and says of each why', { timeout: 15_000 }, async () => {
      const here = await make();
      const startMs = systemClock.monotonicMs();
      const error = await rejectionOf(here.dial(somePeer(), kind.deadAddresses));
      expect(systemClock.monotonicMs() - startMs).toBeLessThan(7_000);
      expect(error).toMatchObject({ code: 'peer_unreachable' });
      expect(error.details.data?.['attempts']).toHaveLength(kind.deadAddresses.length);
    });

    it('finds the living address among dead ones', async () => {
      const here = await make();
      const there = await make();
      await here.dial(there.peerId, [...kind.deadAddresses, ...there.addresses()]);
      expect(here.links()).toHaveLength(1);
    });

    it('never links to itself', async () => {
      const here = await make();
      expect(await rejectionOf(here.dial(here.peerId, here.addresses()))).toBeInstanceOf(MeshnodeError);
      expect(here.links()).toEqual([]);
    });

    it('takes twelve peers that dial at once', { timeout: 30_000 }, async () => {
      const there = await make();
      there.handle(infer, echo, { streamsPerPeer: 1 });
      const peers = await Promise.all(Array.from({ length: 12 }, () => make()));
      await Promise.all(peers.map((peer) => dial(peer, there)));
      await Promise.all(peers.map(async (peer) => (await opened(peer, there, infer)).end()));
      expect(there.links()).toHaveLength(12);
    });

    it('measures a round trip', async () => {
      const [here, there] = await pair();
      const rttMs = await here.ping(there.peerId);
      expect(rttMs).toBeGreaterThanOrEqual(0);
      expect(rttMs).toBeLessThan(1_000);
    });
  });
}

/** A stream that has proved to be served. */
async function opened(here: Network, there: Network, protocol: ProtocolId): Promise<PeerStream> {
  const stream = await here.open(there.peerId, protocol);
  await stream.write(bytesOf('?'));
  await readBytes(stream, 1);
  return stream;
}

async function echo(stream: PeerStream): Promise<void> {
  for (let bytes = await stream.read(); bytes !== undefined; bytes = await stream.read()) {
    await stream.write(bytes);
  }
}

/** Serves one stream by handing it to the test; its handler is done when the stream is closed. */
function serveOne(network: Network, protocol: ProtocolId): Promise<PeerStream> {
  return new Promise((resolve) => {
    network.handle(
      protocol,
      (stream) => {
        resolve(stream);
        return stream.closed;
      },
      { streamsPerPeer: 1 },
    );
  });
}

function nextLink(network: Network, type: LinkEvent['type']): Promise<LinkEvent> {
  return new Promise((resolve) => {
    const stop = network.onLink((event) => {
      if (event.type === type) {
        stop();
        resolve(event);
      }
    });
  });
}

/** Writes until it fails: a reset may be a round trip away. */
async function writeOn(stream: PeerStream): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    await stream.write(bytesOf('z'));
    await sleep(systemClock, 10);
  }
}

async function readInto(stream: PeerStream, parts: Uint8Array[], bytes: number): Promise<void> {
  while (lengthOf(parts) < bytes) {
    const part = await stream.read();
    if (part === undefined) {
      return;
    }
    parts.push(part);
  }
}

async function readBytes(stream: PeerStream, length: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  await readInto(stream, parts, length);
  return joined(parts);
}

async function readAll(stream: PeerStream): Promise<Uint8Array> {
  return readBytes(stream, Number.POSITIVE_INFINITY);
}

/** Resolves once `count` has not moved for 100 ms. */
async function standsStill(count: () => number): Promise<void> {
  let last = -1;
  for (let still = 0; still < 4; still = count() === last ? still + 1 : 0) {
    last = count();
    await sleep(systemClock, 25);
  }
}

async function eventually(attempt: () => Promise<void>): Promise<void> {
  let failure: unknown;
  for (let tries = 0; tries < 100; tries++) {
    try {
      return await attempt();
    } catch (cause) {
      failure = cause;
      await sleep(systemClock, 20);
    }
  }
  throw failure;
}

function somePeer(): PeerId {
  return KeyPair.fromSeed(systemRandom.bytes(32)).peerId;
}

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

function lengthOf(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, part) => sum + part.length, 0);
}

function digest(parts: readonly Uint8Array[]): string {
  const hash = createHash('sha256');
  for (const part of parts) {
    hash.update(part);
  }
  return hash.digest('hex');
}
