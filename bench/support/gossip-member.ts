// One member of the gossip bench, in a process of its own: host, membership and broadcast as in a node, without
// what a node is for. `measure` on standard input begins a measurement, `report` prints it; ends on SIGTERM, and
// with whoever started it.
//
// Over TCP alone, because only there Node.js counts the bytes.
import { createHash } from 'node:crypto';
import { subscribe } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';
import { constants, setPriority } from 'node:os';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import type { Connection } from '@libp2p/interface';
import type { Uint8ArrayList } from 'uint8arraylist';
import type { Broadcast } from '../../src/mesh/broadcast.ts';
import { type LocalFacts, noFacts } from '../../src/mesh/record.ts';
import type { ServiceFactory } from '../../src/net/libp2p-node.ts';
import { KeyPair } from '../../src/trust/keys.ts';
import { systemRandom } from '../../src/util/random.ts';
import { calmNetwork } from '../../test/sim/virtual-network.ts';
import { type GossipMemberOptions, startGossipMember } from '../../test/support/gossip-mesh.ts';

/** What one member saw between `measure` and `report`. */
export interface MemberReport {
  readonly peer: string;
  readonly published: readonly Seen[];
  readonly heard: readonly (Seen & { readonly via: string })[];
  /** Bytes written to streams, by protocol. */
  readonly streamBytes: Readonly<Record<string, number>>;
  /** Bytes written to sockets: streams, what holds them together, and encryption. */
  readonly socketBytes: number;
}

/** An envelope, and when it was there: milliseconds since the epoch, with a fraction. */
export interface Seen {
  readonly envelope: string;
  readonly sizeBytes: number;
  readonly atMs: number;
}

const { values } = parseArgs({
  options: {
    /** Of the mesh key, hex: this member makes the mesh. */
    founder: { type: 'string' },
    token: { type: 'string' },
    members: { type: 'string', default: '0' },
  },
});
setPriority(constants.priority.PRIORITY_BELOW_NORMAL);

const sockets = new Set<Socket>();
for (const channel of ['net.client.socket', 'net.server.socket']) {
  subscribe(channel, (message) => sockets.add((message as { socket: Socket }).socket));
}
let streamBytes: Record<string, number> = {};
let published: Seen[] = [];
let heard: MemberReport['heard'][number][] = [];
let socketBytesBefore = 0;

const { host, mesh, address } = await startGossipMember({
  entry: entry(),
  facts: factsOf,
  aroundBroadcast: recording,
  aroundService: counting,
});
mesh.onNotice(tellComplete);
await mesh.joined();
say({ event: 'joined', address });
tellComplete();

const orders = createInterface({ input: process.stdin });
orders.once('close', () => process.exit());
orders.on('line', (line) => {
  if (line === 'measure') {
    [streamBytes, published, heard] = [{}, [], []];
    socketBytesBefore = socketBytes();
  } else {
    say({ event: 'report', ...report() });
  }
});

/** Says when everybody is up. */
function tellComplete(): void {
  const up = mesh.members().filter(({ isUp }) => isUp).length;
  if (up === Number(values.members) - 1) {
    say({ event: 'complete' });
  }
}

function report(): MemberReport {
  return {
    peer: host.peerId,
    published,
    heard,
    streamBytes,
    socketBytes: socketBytes() - socketBytesBefore,
  };
}

/** Founder or guest, by what the command line says. */
function entry(): GossipMemberOptions['entry'] {
  return values.founder === undefined
    ? { token: values.token ?? '' }
    : { meshKey: KeyPair.fromSeed(Uint8Array.from(Buffer.from(values.founder, 'hex'))) };
}

/** What a node with a GPU and a model says of itself. */
function factsOf(addresses: readonly string[]): LocalFacts {
  return {
    ...noFacts,
    name: `member-${process.pid}`,
    version: '1.0.0',
    addresses,
    devices: [
      { name: 'CPU', kind: 'cpu', totalBytes: 64e9, usableBytes: 48e9, bandwidthBytes: 80e9 },
      {
        name: 'NVIDIA GeForce RTX 4090',
        kind: 'cuda',
        totalBytes: 24e9,
        usableBytes: 22e9,
        bandwidthBytes: 1e12,
      },
    ],
    models: [
      {
        name: 'meta-llama-3.1-8b-instruct-q4_k_m',
        digest: createHash('sha256').update('model').digest('hex'),
        attached: false,
        state: 'ready',
        kind: 'chat',
        sizeBytes: 4.9e9,
        contextTokens: 32_768,
        slots: 4,
        architecture: 'llama',
        quantisation: 'Q4_K_M',
        abilities: [],
      },
    ],
  };
}

/** Counts what is written to every stream that this member opens, and holds back what gossipsub writes. */
function counting(service: ServiceFactory): ServiceFactory {
  return (components) => {
    components.events.addEventListener('connection:open', ({ detail }) => countStreams(detail));
    return service(components);
  };
}

function countStreams(connection: Connection): void {
  const open = connection.newStream.bind(connection);
  connection.newStream = async (...args) => {
    const stream = await open(...args);
    const sendNow = stream.send.bind(stream);
    const send = stream.protocol.startsWith('/meshsub/') ? late(sendNow) : sendNow;
    stream.send = (bytes) => {
      streamBytes[stream.protocol] = (streamBytes[stream.protocol] ?? 0) + bytes.byteLength;
      return send(bytes);
    };
    return stream;
  };
}

/** As long a way as links of the simulator have, in order; gossipsub's are never full. */
function late(send: (bytes: Uint8Array | Uint8ArrayList) => boolean): typeof send {
  const waiting: (Uint8Array | Uint8ArrayList)[] = [];
  let lastMs = 0;
  return (bytes) => {
    const nowMs = performance.now();
    lastMs = Math.max(lastMs, nowMs + calmNetwork.delayMs + systemRandom.float() * calmNetwork.jitterMs);
    waiting.push(bytes);
    setTimeout(() => {
      const next = waiting.shift();
      try {
        if (next !== undefined) {
          send(next);
        }
      } catch {
        // The stream has closed meanwhile.
      }
    }, lastMs - nowMs);
    return true;
  };
}

/** Notes when envelopes go and come. */
function recording(broadcast: Broadcast): Broadcast {
  return {
    start: (hear) =>
      broadcast.start((via, envelope) => {
        heard.push({ ...seen(envelope), via });
        return hear(via, envelope);
      }),
    publish: (envelope) => {
      published.push(seen(envelope));
      broadcast.publish(envelope);
    },
    admit: (peer) => broadcast.admit(peer),
    drop: (peer) => broadcast.drop(peer),
    stop: () => broadcast.stop(),
  };
}

function seen(envelope: Uint8Array): Seen {
  return {
    envelope: createHash('sha256').update(envelope).digest('hex').slice(0, 16),
    sizeBytes: envelope.length,
    atMs: performance.timeOrigin + performance.now(),
  };
}

function socketBytes(): number {
  return [...sockets].reduce((sum, socket) => sum + socket.bytesWritten, 0);
}

function say(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
