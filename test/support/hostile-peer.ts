// A peer that keeps to no rule: real keys and real connections, below all that makes an honest node behave. What it
// sends is up to the test; what it hears is kept. It can come in as an honest peer would, and turn then.
import { privateKeyFromRaw } from '@libp2p/crypto/keys';
import type { Connection, Libp2p, Stream, StreamMuxerFactory } from '@libp2p/interface';
import { noise } from '@libp2p/noise';
import { tcp } from '@libp2p/tcp';
import { tls } from '@libp2p/tls';
import { yamux } from '@libp2p/yamux';
import { multiaddr } from '@multiformats/multiaddr';
import { createLibp2p } from 'libp2p';
import { meshProtocol } from '../../src/mesh/admission.ts';
import type { MeshMessage } from '../../src/mesh/message.ts';
import { encodeMessage, readMessage } from '../../src/mesh/message-codec.ts';
import type { PeerStream } from '../../src/net/network.ts';
import { MuxedStream } from '../../src/net/peer-stream.ts';
import { quic } from '../../src/net/quic/transport.ts';
import type { Certificate } from '../../src/trust/certificate.ts';
import { type ProtocolId, protocols } from '../../src/trust/gate.ts';
import { type KeyPair, keyText } from '../../src/trust/keys.ts';
import { withTimeout } from '../../src/util/async.ts';
import { systemClock } from '../../src/util/clock.ts';
import { MeshnodeError } from '../../src/util/errors.ts';
import { delimit, MessageReader } from '../../src/wire/framing.ts';
import { freshKey, type Path } from './mesh-process.ts';

/** Nothing of a hostile peer is limited by itself. */
const unlimited = 1_000_000;
/** Longest wait for what must happen. */
export const patienceMs = 8_000;

export type MessageType = MeshMessage['type'];
export type MessageOf<Type extends MessageType> = Extract<MeshMessage, { type: Type }>;

export interface HostileOptions {
  readonly key?: KeyPair;
  /** Encryption of TCP; TLS if absent. */
  readonly encryption?: 'tls' | 'noise';
}

export class HostilePeer {
  readonly key: KeyPair;
  readonly path: Path;
  /** All that honest nodes have told it on streams of theirs. */
  readonly heard: MeshMessage[] = [];
  /** Protocols of the streams that were opened to it. */
  readonly opened: string[] = [];
  readonly #node: Libp2p;
  readonly #waiters = new Set<() => void>();

  private constructor(node: Libp2p, key: KeyPair, path: Path) {
    this.#node = node;
    this.key = key;
    this.path = path;
  }

  static async start(
    path: Path,
    { key = freshKey(), encryption = 'tls' }: HostileOptions = {},
  ): Promise<HostilePeer> {
    const node = await createLibp2p({
      privateKey: privateKeyFromRaw(Buffer.concat([key.seed, key.publicKey])),
      addresses: { listen: [path === 'quic' ? '/ip4/127.0.0.1/udp/0/quic-v1' : '/ip4/127.0.0.1/tcp/0'] },
      transports: [path === 'quic' ? quic({ clock: systemClock, maxInboundStreams: unlimited }) : tcp()],
      connectionEncrypters: [encryption === 'tls' ? tls() : noise()],
      streamMuxers: [carelessYamux],
      connectionManager: { reconnectRetries: 0 },
      connectionMonitor: { enabled: false },
      connectionGater: { denyDialMultiaddr: () => false },
    });
    const peer = new HostilePeer(node, key, path);
    for (const protocol of [protocols.join, protocols.gossip]) {
      await node.handle(protocol, (stream) => peer.#listen(stream, protocol), {
        maxInboundStreams: unlimited,
      });
    }
    return peer;
  }

  /** Takes streams of a protocol; what becomes of them is up to the test. */
  async serve(protocol: ProtocolId, take: (stream: PeerStream) => Promise<void>): Promise<void> {
    await this.#node.handle(
      protocol,
      (stream, connection) => {
        this.opened.push(protocol);
        const taken = take(new MuxedStream(stream, connection.remotePeer.toString(), protocol));
        taken.catch((cause: Error) => stream.abort(cause));
      },
      { maxInboundStreams: unlimited },
    );
  }

  get peerId(): string {
    return this.key.peerId;
  }

  /** Where it listens, without a peer id. */
  get address(): string {
    const [address] = this.#node.getMultiaddrs();
    return String(address?.decapsulate(`/p2p/${this.peerId}`));
  }

  /** A fresh connection to the node at a multiaddr. */
  async connect(address: string): Promise<HostileLink> {
    return new HostileLink(await this.#node.dial(multiaddr(address), { force: true }));
  }

  /** Comes in with a certificate, as an honest member does. Resolves once both sides have admitted each other. */
  async enter(address: string, certificate: Certificate): Promise<AdmittedPeer> {
    const link = await this.connect(address);
    const join = await link.open(protocols.join);
    const before = this.heard.length;
    await say(join, greetingOf(certificate));
    await this.hear('admitted', before);
    await say(join, { type: 'admitted', proofs: [], peers: [], clockMs: Date.now() });
    if (certificate.role === 'client') {
      return { peer: this, link, join, gossip: join };
    }
    return { peer: this, link, join, gossip: await link.open(protocols.gossip) };
  }

  /** The first message of a type among those heard after the first `skip`, there already or to come. */
  hear<Type extends MessageType>(
    type: Type,
    skip = 0,
    wanted: (message: MessageOf<Type>) => boolean = () => true,
  ): Promise<MessageOf<Type>> {
    const isWanted = (message: MeshMessage): message is MessageOf<Type> =>
      message.type === type && wanted(message as MessageOf<Type>);
    const heard = new Promise<MessageOf<Type>>((resolve) => {
      const look = (): void => {
        const found = this.heard.slice(skip).find(isWanted);
        if (found !== undefined) {
          this.#waiters.delete(look);
          resolve(found);
        }
      };
      this.#waiters.add(look);
      look();
    });
    return inTime(heard, `to hear ${type}`);
  }

  /** Every envelope that it was told, in order. */
  get envelopes(): Uint8Array[] {
    return this.heard.flatMap((message) => (message.type === 'items' ? message.envelopes : []));
  }

  /** Resolves once it has been told this envelope, byte for byte. */
  async hearEnvelope(bytes: Uint8Array): Promise<void> {
    await this.hear('items', 0, ({ envelopes }) => envelopes.some((envelope) => sameBytes(envelope, bytes)));
  }

  /** Takes leave of nobody. */
  async stop(): Promise<void> {
    for (const connection of this.#node.getConnections()) {
      connection.abort(new Error('gone'));
    }
    await this.#node.stop();
  }

  /** Reads as long as the stream lasts. */
  async #listen(stream: Stream, protocol: ProtocolId): Promise<void> {
    this.opened.push(protocol);
    const source = new MuxedStream(stream, '', protocol);
    const reader = new MessageReader(2 ** 24);
    try {
      for (let piece = await source.read(); piece !== undefined; piece = await source.read()) {
        reader.feed(new Uint8Array(piece), (message) => this.heard.push(readMessage(message)));
        for (const look of [...this.#waiters]) {
          look();
        }
      }
    } catch {
      // The connection is gone.
    }
  }
}

/** A hostile peer that a node has let in. */
export interface AdmittedPeer {
  readonly peer: HostilePeer;
  readonly link: HostileLink;
  readonly join: PeerStream;
  /** A client has none: it says everything on join. */
  readonly gossip: PeerStream;
}

/** One connection to a node. */
export class HostileLink {
  readonly #connection: Connection;
  readonly #closed: Promise<void>;

  constructor(connection: Connection) {
    this.#connection = connection;
    this.#closed = new Promise((resolve) => {
      connection.addEventListener('close', () => resolve());
    });
  }

  get isOpen(): boolean {
    return this.#connection.status === 'open';
  }

  /** Resolves once the node has cut the connection. */
  async cut(withinMs = patienceMs): Promise<void> {
    if (this.isOpen) {
      await inTime(this.#closed, 'to be cut off', withinMs);
    }
  }

  close(): void {
    this.#connection.abort(new Error('gone'));
  }

  /** A stream whose protocol the node has confirmed. */
  async open(protocol: string): Promise<PeerStream> {
    const stream = await this.#connection.newStream(protocol, { maxOutboundStreams: unlimited });
    return new MuxedStream(stream, this.#connection.remotePeer.toString(), protocol as ProtocolId);
  }

  /** A stream that names no protocol: it only begins to, for QUIC shows no stream before its first byte. */
  async openBare(): Promise<void> {
    const { muxer } = this.#connection as Connection & { muxer: { createStream(): Promise<Stream> } };
    const stream = await muxer.createStream();
    stream.send(Uint8Array.of('/multistream/1.0.0\n'.length));
  }
}

/** Yamux that may be cut off at any moment: left alone it throws, where nobody can catch it, once it is. */
function carelessYamux(): StreamMuxerFactory {
  const muxers = yamux({ maxInboundStreams: unlimited, maxOutboundStreams: unlimited })();
  return {
    protocol: muxers.protocol,
    createStreamMuxer: (connection) => {
      const send = connection.send.bind(connection);
      connection.send = (frame) => connection.status !== 'open' || send(frame);
      return muxers.createStreamMuxer(connection);
    },
  };
}

/** What a peer begins with that shows this certificate, its own or not. */
export function greetingOf({ bytes, meshId }: Pick<Certificate, 'bytes' | 'meshId'>): MessageOf<'hello'> {
  return {
    type: 'hello',
    protocol: meshProtocol,
    meshId,
    certificate: bytes,
    clockMs: Date.now(),
    proofs: [],
    heard: false,
  };
}

/** With which code a node refuses a peer of this key that shows this certificate. */
export async function refusalOf(
  address: string,
  path: Path,
  key: KeyPair,
  certificate: Pick<Certificate, 'bytes' | 'meshId'>,
): Promise<string> {
  const peer = await HostilePeer.start(path, { key });
  try {
    const link = await peer.connect(address);
    await say(await link.open(protocols.join), greetingOf(certificate));
    return (await peer.hear('refused')).code;
  } finally {
    await peer.stop();
  }
}

/** A message as bytes of a stream. */
export function frameOf(message: MeshMessage): Uint8Array {
  return delimit(encodeMessage(message));
}

export function say(stream: PeerStream, ...messages: readonly MeshMessage[]): Promise<void> {
  return stream.write(Buffer.concat(messages.map(frameOf)));
}

/** Answers each beat of the node, as whoever lives does. To be called before it enters; `link` is there by the first beat. */
export async function keepAlive(peer: HostilePeer, link: () => HostileLink | undefined): Promise<void> {
  let answers: Promise<PeerStream> | undefined;
  await peer.serve(protocols.heartbeat, async (stream) => {
    const reader = new MessageReader(2 ** 16);
    for (let piece = await stream.read(); piece !== undefined; piece = await stream.read()) {
      const beats: MeshMessage[] = [];
      reader.feed(new Uint8Array(piece), (message) => beats.push(readMessage(message)));
      for (const beat of beats) {
        if (beat.type === 'beat') {
          answers ??= link()?.open(protocols.heartbeat);
          const to = await answers;
          await to?.write(frameOf({ type: 'beat-answer', nonce: beat.nonce, loads: [] }));
        }
      }
    }
  });
}

/** Ends with what is no frame: when the node cuts the peer off for it, it has dealt with all that came before. */
export async function dealtWith({ link, gossip }: AdmittedPeer): Promise<void> {
  await gossip.write(new Uint8Array(8).fill(0xff));
  await link.cut();
}

export function sameBytes(one: Uint8Array, other: Uint8Array): boolean {
  return keyText(one) === keyText(other);
}

/** Rejects, saying what was waited for, if `promise` takes too long. */
export function inTime<T>(promise: Promise<T>, waitedFor: string, withinMs = patienceMs): Promise<T> {
  const late = (): MeshnodeError =>
    new MeshnodeError('internal', `It took more than ${withinMs} ms ${waitedFor}.`);
  return withTimeout(systemClock, withinMs, promise, late);
}
