// The host speaks with a libp2p that is not JavaScript: smoldot, a light client written in Rust, dials it over TCP
// with Noise and yamux, as it dials the nodes of the chain that it is told to follow.
import { publicKeyToProtobuf } from '@libp2p/crypto/keys';
import type { Connection, Stream } from '@libp2p/interface';
import { peerIdFromString } from '@libp2p/peer-id';
import { westend2 } from '@substrate/connect-known-chains';
import protobuf from 'protobufjs/minimal.js';
import { start } from 'smoldot';
import { expect, it } from 'vitest';
import { assertInvariant } from '../../../src/util/errors.ts';
import { testHost } from '../../support/test-host.ts';

const identify = '/ipfs/id/1.0.0';
const ping = '/ipfs/ping/1.0.0';

// Not tested: identify from here to there. smoldot puts its answer and its end into one yamux frame, and libp2p then
// drops the answer; nodes of meshnode never do.
// Nor that smoldot understands our answer to its own identify: it ends its side of that stream at once, and says
// nothing of what it reads there, be it garbage. What shows is that the answer left, whole and with its end, and that
// neither side broke the stream: unanswered it stays open, and an answer without an end is reset.
it('is dialled, identified and pinged by smoldot, and pings it', { timeout: 15_000 }, async () => {
  const asked: string[] = [];
  const linked = Promise.withResolvers<string>();
  const answered = Promise.withResolvers<Answer>();
  let connections = (): Connection[] => [];
  const host = await testHost({
    gate: (_, protocol) => {
      if (protocol === identify && !asked.includes(identify)) {
        // The gate is asked before the handler is called: nothing has been answered yet.
        const streams = connections().flatMap((connection) => connection.streams);
        answered.resolve(answerOn(streams.find((stream) => stream.protocol === identify)));
      }
      asked.push(protocol);
      return protocol === identify || protocol === ping;
    },
    services: {
      spy: ({ connectionManager }) => {
        connections = () => connectionManager.getConnections();
        return {};
      },
    },
  });
  host.onLink(({ type, link }) => {
    if (type === 'opened') {
      linked.resolve(link.peer);
    }
  });
  const smoldot = start({ maxLogLevel: 0, logCallback: () => {} });
  try {
    const bootNodes = [`${host.addresses()[0]}/p2p/${host.peerId}`];
    await smoldot.addChain({ chainSpec: JSON.stringify({ ...JSON.parse(westend2), bootNodes }) });
    const peer = await linked.promise;
    expect(host.links()).toMatchObject([{ peer, path: 'tcp', direction: 'inbound' }]);
    const { bytes, error } = await answered.promise;
    expect(error).toBeUndefined();
    const { publicKey } = peerIdFromString(host.peerId);
    assertInvariant(publicKey !== undefined, 'a peer id of ours holds its key');
    expect(identityIn(bytes)).toEqual({
      publicKey: Buffer.from(publicKeyToProtobuf(publicKey)),
      protocols: expect.arrayContaining([identify, ping]),
    });
    await expect.poll(() => asked, { timeout: 8_000 }).toEqual(expect.arrayContaining([identify, ping]));
    for (let round = 0; round < 3; round++) {
      expect(await host.ping(peer)).toBeGreaterThan(0);
    }
    expect(host.links()).toHaveLength(1);
  } finally {
    await smoldot.terminate();
    await host.close();
  }
});

interface Answer {
  /** What our side wrote, and libp2p gave to the connection. */
  readonly bytes: Uint8Array;
  /** What the stream was closed with; none if both sides ended it. */
  readonly error: Error | undefined;
}

/** What is written on `stream` until it is closed. */
function answerOn(stream: Stream | undefined): Promise<Answer> {
  assertInvariant(stream !== undefined, 'a stream that the gate is asked about is open');
  const pieces: Uint8Array[] = [];
  const send = stream.send.bind(stream);
  stream.send = (piece) => {
    pieces.push(piece.subarray());
    return send(piece);
  };
  return new Promise((resolve) => {
    stream.addEventListener('close', ({ error }) => resolve({ bytes: Buffer.concat(pieces), error }));
  });
}

/** The key and the protocols of identify's answer, one message with its length before it. */
function identityIn(answer: Uint8Array): { publicKey: Buffer | undefined; protocols: string[] } {
  const reader = protobuf.Reader.create(answer);
  expect(reader.uint32()).toBe(answer.length - reader.pos);
  let publicKey: Buffer | undefined;
  const protocols: string[] = [];
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    switch (tag >>> 3) {
      case 1:
        publicKey = Buffer.from(reader.bytes());
        break;
      case 3:
        protocols.push(reader.string());
        break;
      default:
        reader.skipType(tag & 7);
    }
  }
  return { publicKey, protocols };
}
