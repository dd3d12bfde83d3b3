// Peers that speak wrongly, too much, too slowly or not at all, on QUIC and on TCP, before and after they are let in:
// a running node cuts them off or bears them, and nobody else in its mesh notices.
import { setImmediate } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { MeshMessage } from '../../src/mesh/message.ts';
import type { PeerStream } from '../../src/net/network.ts';
import { type Issuer, issueCertificate } from '../../src/trust/certificate.ts';
import { protocols } from '../../src/trust/gate.ts';
import type { KeyPair } from '../../src/trust/keys.ts';
import type { Role } from '../../src/trust/roles.ts';
import { sleep, systemClock } from '../../src/util/clock.ts';
import { meshLimits } from '../../src/util/limits/mesh.ts';
import { netLimits, quicLimits } from '../../src/util/limits/net.ts';
import { seededRandom } from '../../src/util/random.ts';
import { delimit } from '../../src/wire/framing.ts';
import { watched } from '../support/attack-watch.ts';
import {
  type AdmittedPeer,
  dealtWith,
  frameOf,
  greetingOf,
  type HostileLink,
  HostilePeer,
  inTime,
  patienceMs,
  say,
} from '../support/hostile-peer.ts';
import { type MeshProcess, type Path, startedPair, strangeIssuer } from '../support/mesh-process.ts';
import { countStreamsAnew, probed, type StreamCounts, streamCounts } from '../support/node-probe.ts';

const paths: readonly Path[] = ['quic', 'tcp'];
/** A stranger that is cut off so soon was not merely out of time. */
const atOnceMs = meshLimits.admissionMs - 1_500;

let victim: MeshProcess;
let witness: MeshProcess;
let meshKey: Issuer;

beforeAll(async () => {
  [victim, witness] = await probed(startedPair);
  meshKey = await victim.meshIssuer();
});

afterAll(async () => {
  await Promise.all([victim?.discard(), witness?.discard()]);
});

/** A hostile peer with a connection, and the stream that it misuses. */
interface Attacker {
  readonly peer: HostilePeer;
  readonly link: HostileLink;
  readonly stream: PeerStream;
}

/** Where a peer stands when it turns: what it is let in as, if it is, and on which stream. */
const standings = {
  'a stranger on join': (path: Path) => stranger(path),
  'a member on join': (path: Path) => member(path, 'join'),
  'a member on gossip': (path: Path) => member(path, 'gossip'),
} as const;

type Standing = keyof typeof standings;

const everywhere = paths.flatMap((path) =>
  (Object.keys(standings) as Standing[]).map((standing) => ({ path, standing })),
);
const floods = everywhere.filter(({ standing }) => standing !== 'a member on join');
const asMember = everywhere.filter(({ standing }) => standing !== 'a stranger on join');

/** Says what is to be done when a test is over. Tests that run side by side have each their own. */
type AtEnd = (finish: () => Promise<void>) => void;

async function hostilePeer(path: Path, atEnd: AtEnd = onTestFinished): Promise<HostilePeer> {
  const peer = await HostilePeer.start(path);
  atEnd(() => peer.stop());
  return peer;
}

async function stranger(path: Path, atEnd?: AtEnd): Promise<Attacker> {
  const peer = await hostilePeer(path, atEnd);
  const link = await peer.connect(victim.address(path));
  return { peer, link, stream: await link.open(protocols.join) };
}

async function member(path: Path, on: 'join' | 'gossip', atEnd?: AtEnd): Promise<Attacker & AdmittedPeer> {
  const peer = await hostilePeer(path, atEnd);
  const admitted = await peer.enter(victim.address(path), certify(peer.key));
  return { ...admitted, stream: admitted[on] };
}

function certify(key: KeyPair, role: Role = 'serve', issuer: Issuer = meshKey) {
  return issueCertificate({ issuer, peerKey: key.publicKey, role, nowMs: Date.now() });
}

/** What a peer says to whom it lets in. */
function staying(): MeshMessage {
  return { type: 'admitted', proofs: [], peers: [], clockMs: Date.now() };
}

/** What proves that a member is still one: it is answered. */
async function isAnswered({ peer, stream }: Attacker): Promise<void> {
  const skip = peer.heard.length;
  await say(stream, { type: 'digest', root: new Uint8Array(8), items: 0 });
  await peer.hear('buckets', skip);
}

/** Writes as much as is taken: a peer that is cut off in the middle has had its say. */
async function pour(stream: PeerStream, ...pieces: readonly Uint8Array[]): Promise<void> {
  try {
    for (const piece of pieces) {
      await stream.write(piece);
    }
  } catch {
    // Cut off, as it should be.
  }
}

const noise = seededRandom(1).bytes(64 * 1024);
/** The length of one gibibyte, as a frame says it. */
const gibibyte = Uint8Array.of(0x80, 0x80, 0x80, 0x80, 0x04);
/** The largest that four bytes can say, which is as many as a length may have. */
const largest = Uint8Array.of(0xff, 0xff, 0xff, 0x7f);

describe('what is no speech of a peer costs it its connection', () => {
  it.each(everywhere)('garbage: $standing, $path', ({ path, standing }) =>
    watched({ victim, witness }, async () => {
      const { link, stream } = await standings[standing](path);
      await pour(stream, new Uint8Array(1024).fill(0xff), noise);
      await link.cut(atOnceMs);
    }),
  );

  it.each(everywhere)('whole frames of garbage: $standing, $path', ({ path, standing }) =>
    watched({ victim, witness }, async () => {
      const { link, stream } = await standings[standing](path);
      await pour(stream, delimit(noise.subarray(0, 4096)));
      await link.cut(atOnceMs);
    }),
  );

  it.each(everywhere)('a frame that announces a gibibyte: $standing, $path', ({ path, standing }) =>
    watched({ victim, witness }, async () => {
      for (const length of [gibibyte, largest]) {
        const { link, stream } = await standings[standing](path);
        await pour(stream, length, ...Array.from({ length: 64 }, () => noise));
        await link.cut(atOnceMs);
      }
    }),
  );

  it.each(floods)('as many streams as it can open: $standing, $path', async (flood) => {
    await watched({ victim, witness }, () =>
      flooded(flood, ({ link, stream }) => link.open(stream.protocol)),
    );
  });

  it.each(floods)('streams without end that name no protocol: $standing, $path', async (flood) => {
    const { mostAtOnce } = await watched({ victim, witness }, () =>
      flooded(flood, ({ link }) => link.openBare()),
    );
    // A limit that is not reached would not have been tried.
    expect(mostAtOnce).toBeGreaterThan(mostStreams(flood) / 2);
  });
});

/** Streams that the victim must have been offered on each transport, as many as take seconds. QUIC opens few at a time. */
const floodStreams: Readonly<Record<Path, number>> = { quic: 300, tcp: 2_000 };
/** So many streams of the flood wait to be answered. */
const unanswered = 1_024;
/** Time for a flood on a machine that has other things to do. */
const floodMs = 25_000;

/** How many streams at once a peer may have open on one connection. */
function mostStreams({ path, standing }: { path: Path; standing: Standing }): number {
  if (standing === 'a stranger on join') {
    return netLimits.unadmittedStreams;
  }
  return path === 'quic' ? quicLimits.inboundStreams : netLimits.streams;
}

/**
 * Opens streams as fast as it can, again over a new connection whenever it is cut off, until the victim has been
 * offered `floodStreams`; the victim itself counts them. It must cut the flood off, and never hold more than it may.
 */
async function flooded(
  flood: { path: Path; standing: Standing },
  open: (attacker: Attacker) => Promise<unknown>,
): Promise<StreamCounts> {
  const endMs = systemClock.monotonicMs() + floodMs;
  await countStreamsAnew(victim);
  let counts = await streamCounts(victim);
  let cuts = 0;
  const isOver = (): boolean =>
    (counts.begun >= floodStreams[flood.path] && cuts > 0) || systemClock.monotonicMs() > endMs;
  const flooding = async (): Promise<void> => {
    while (!isOver()) {
      const attacker = await standings[flood.standing](flood.path);
      let waiting = 0;
      const answered = (): void => {
        waiting--;
      };
      while (attacker.link.isOpen && !isOver()) {
        // Others have their turn as well: connections are read, and the honest measure.
        for (let burst = 0; burst < 64 && waiting < unanswered; burst++) {
          waiting++;
          open(attacker).then(answered, answered);
        }
        await setImmediate();
      }
      cuts += Number(!attacker.link.isOpen);
      attacker.link.close();
    }
  };
  const counting = async (): Promise<void> => {
    while (!isOver()) {
      await sleep(systemClock, 50);
      counts = await streamCounts(victim);
    }
  };
  await Promise.all([flooding(), counting()]);
  expect(counts.begun, 'streams that came').toBeGreaterThanOrEqual(floodStreams[flood.path]);
  expect(cuts, 'connections that were cut off').toBeGreaterThan(0);
  expect(counts.mostAtOnce, 'streams at once').toBeLessThanOrEqual(mostStreams(flood));
  return counts;
}

describe('a stranger that only takes up room is put out in time', () => {
  /** A while longer than a stranger has. */
  const withinMs = meshLimits.admissionMs + 3_000;

  it.concurrent('half a frame, then silence', ({ onTestFinished: atEnd }) =>
    onBoth(async (path) => {
      const { link, peer, stream } = await stranger(path, atEnd);
      const hello = frameOf(greetingOf(certify(peer.key)));
      await stream.write(hello.subarray(0, hello.length / 2));
      await link.cut(withinMs);
    }));

  it.concurrent('a stream and not a byte', ({ onTestFinished: atEnd }) =>
    onBoth(async (path) => {
      const { link } = await stranger(path, atEnd);
      await link.cut(withinMs);
    }));

  it.concurrent('a connection and not a stream', ({ onTestFinished: atEnd }) =>
    onBoth(async (path) => {
      const peer = await hostilePeer(path, atEnd);
      const link = await peer.connect(victim.address(path));
      await link.cut(withinMs);
    }));

  it.concurrent('a byte a second', ({ onTestFinished: atEnd }) =>
    onBoth(async (path) => {
      const { link, peer, stream } = await stranger(path, atEnd);
      const drip = dripping(stream, frameOf(greetingOf(certify(peer.key))), () => link.isOpen);
      await link.cut(withinMs);
      await drip;
    }));

  it.concurrent('a few streams that name no protocol', ({ onTestFinished: atEnd }) =>
    onBoth(async (path) => {
      const { link } = await stranger(path, atEnd);
      await Promise.all(Array.from({ length: netLimits.unadmittedStreams - 1 }, () => link.openBare()));
      await link.cut(withinMs);
    }));
});

/** The same attack over each transport at the same time: what lasts seconds by itself. */
async function onBoth(attack: (path: Path) => Promise<void>): Promise<void> {
  await watched({ victim, witness }, async () => {
    await Promise.all(paths.map(attack));
  });
}

/** Writes one byte a second, until they are written or `goesOn` says no. */
async function dripping(stream: PeerStream, bytes: Uint8Array, goesOn: () => boolean): Promise<void> {
  for (let sent = 0; sent < bytes.length && goesOn(); sent++) {
    await pour(stream, bytes.subarray(sent, sent + 1));
    await sleep(systemClock, 1_000);
  }
}

describe('a member that dawdles is borne, and answered elsewhere', () => {
  const question = frameOf({ type: 'digest', root: new Uint8Array(8), items: 0 });
  const onJoin = { on: 'join', elsewhere: 'gossip' } as const;
  const onGossip = { on: 'gossip', elsewhere: 'join' } as const;

  it.concurrent.for([onJoin, onGossip])(
    'half a frame, then silence: on $on',
    ({ on, elsewhere }, { onTestFinished: atEnd }) =>
      onBoth(async (path) => {
        const { stream, ...attacker } = await member(path, on, atEnd);
        await stream.write(question.subarray(0, question.length / 2));
        await isAnswered({ ...attacker, stream: attacker[elsewhere] });
      }),
  );

  it.concurrent.for([onJoin, onGossip])(
    'a byte a second: on $on',
    ({ on, elsewhere }, { onTestFinished: atEnd }) =>
      onBoth(async (path) => {
        const { stream, ...attacker } = await member(path, on, atEnd);
        await dripping(stream, question.subarray(0, 2), () => attacker.link.isOpen);
        await isAnswered({ ...attacker, stream: attacker[elsewhere] });
      }),
  );
});

describe('what is said at the wrong time is not heard', () => {
  const clockMs = Date.now();
  const many = 10_000;

  it.each(asMember)('ten thousand hellos: $standing, $path', ({ path, standing }) =>
    watched({ victim, witness }, async () => {
      const attacker = await standings[standing](path);
      const hello = frameOf(greetingOf(certify(attacker.peer.key)));
      const hundred = Buffer.concat(Array.from({ length: 100 }, () => hello));
      await pour(attacker.stream, ...Array.from({ length: many / 100 }, () => hundred));
      // The first showed another certificate than before, so it is asked anew whether it stays.
      await say(attacker.stream, staying());
      await isAnswered(attacker);
      const answers = attacker.peer.heard.filter(({ type }) => type === 'admitted');
      expect(answers.length).toBeLessThan(2 + patienceMs / meshLimits.repeatMs);
    }),
  );

  it.each(asMember)(
    'ten thousand hellos, each with another certificate: $standing, $path',
    ({ path, standing }) =>
      watched({ victim, witness }, async () => {
        const attacker = await standings[standing](path);
        const { publicKey } = attacker.peer.key;
        const issue = { issuer: meshKey, peerKey: publicKey, role: 'serve' } as const;
        const hellos = Array.from({ length: 1_000 }, (_, index) =>
          frameOf(greetingOf(issueCertificate({ ...issue, nowMs: clockMs - index }))),
        );
        const before = attacker.peer.heard.length;
        await pour(attacker.stream, ...Array.from({ length: many / 1_000 }, () => Buffer.concat(hellos)));
        await say(attacker.stream, staying());
        await isAnswered(attacker);
        const answers = attacker.peer.heard.slice(before).filter(({ type }) => type === 'admitted');
        expect(answers.length).toBeLessThan(2 + patienceMs / meshLimits.reopenMs);
      }),
  );

  it.each(paths)('ten thousand hellos of a stranger, with a certificate of another mesh: %s', (path) =>
    watched({ victim, witness }, async () => {
      const { peer, link, stream } = await stranger(path);
      const hello = frameOf(greetingOf(certify(peer.key, 'admin', strangeIssuer())));
      const hundred = Buffer.concat(Array.from({ length: 100 }, () => hello));
      await pour(stream, ...Array.from({ length: many / 100 }, () => hundred));
      expect(await peer.hear('refused')).toMatchObject({ code: 'mesh_mismatch' });
      await link.cut();
      expect(peer.heard.map(({ type }) => type)).toEqual(['hello', 'refused']);
    }),
  );

  it.each(asMember)('ten thousand frames of a later version: $standing, $path', ({ path, standing }) =>
    watched({ victim, witness }, async () => {
      const attacker = await standings[standing](path);
      await pour(attacker.stream, ofLaterVersion(many));
      await isAnswered(attacker);
    }),
  );

  it.each(paths)('ten thousand frames of a later version, then a hello: %s', (path) =>
    watched({ victim, witness }, async () => {
      const { peer, stream } = await stranger(path);
      await stream.write(ofLaterVersion(many));
      await say(stream, greetingOf(certify(peer.key)));
      await peer.hear('admitted');
    }),
  );

  it.each(paths)('admitted before hello: %s', (path) =>
    watched({ victim, witness }, async () => {
      const { peer, link, stream } = await stranger(path);
      const admitted = { type: 'admitted', proofs: [], peers: [], clockMs } as const;
      const question = { type: 'digest', root: new Uint8Array(8), items: 0 } as const;
      await say(stream, admitted, question);
      await isRefused(link, protocols.gossip);
      // What it said before it was let in does not count: it is answered only once it has said it again.
      await say(stream, greetingOf(certify(peer.key)), question);
      await peer.hear('admitted');
      await say(stream, admitted, question);
      await peer.hear('buckets');
      expect(peer.heard.filter(({ type }) => type === 'buckets')).toHaveLength(1);
    }),
  );

  it.each(paths)('questions before admission: %s', (path) =>
    watched({ victim, witness }, async () => {
      const { peer, stream } = await stranger(path);
      await say(
        stream,
        { type: 'digest', root: new Uint8Array(8), items: 0 },
        { type: 'buckets', hashes: new Uint8Array(2048) },
        { type: 'entries', buckets: new Uint8Array(32).fill(0xff), entries: [] },
        { type: 'want', keys: [new Uint8Array(16)] },
        { type: 'items', envelopes: [noise.subarray(0, 100)] },
        { type: 'renewal', certificate: certify(peer.key).bytes },
        greetingOf(certify(peer.key, 'serve', strangeIssuer())),
      );
      await peer.hear('refused');
      expect(peer.heard.map(({ type }) => type)).toEqual(['hello', 'refused']);
    }),
  );

  it.each(paths)('the same question twenty thousand times: %s', (path) =>
    watched({ victim, witness }, async () => {
      const attacker = await member(path, 'gossip');
      const question = frameOf({ type: 'digest', root: new Uint8Array(8), items: 0 });
      const thousand = Buffer.concat(Array.from({ length: 1_000 }, () => question));
      await pour(attacker.stream, ...Array.from({ length: 20 }, () => thousand));
      await dealtWith(attacker);
    }),
  );
});

describe('what is no speech of gossipsub', () => {
  it.each(paths)('is thrown away: %s', (path) =>
    watched({ victim, witness }, async () => {
      const pieces = Array.from({ length: 128 }, () => noise);
      for (const start of [new Uint8Array(1024).fill(0xff), gibibyte, delimit(noise.subarray(0, 4096))]) {
        const attacker = await member(path, 'gossip');
        await pour(await attacker.link.open('/meshsub/1.2.0'), start, ...pieces);
        await isAnswered(attacker);
      }
    }),
  );
});

/** Frames of a message type that this version does not know. */
function ofLaterVersion(count: number): Uint8Array {
  // Field 200, bytes.
  const frame = delimit(Uint8Array.of(0xc2, 0x0c, 0x03, 1, 2, 3));
  return Buffer.concat(Array.from({ length: count }, () => frame));
}

/** Resolves once the node has refused or broken off a stream. */
async function isRefused(link: HostileLink, protocol: string): Promise<void> {
  const streamEnd = async (): Promise<void> => {
    const stream = await link.open(protocol);
    while ((await stream.read()) !== undefined) {
      throw new Error(`${protocol} was answered.`);
    }
    throw new Error(`${protocol} came to a good end.`);
  };
  const refusal = streamEnd().then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(await inTime(refusal, `for ${protocol} to be refused`)).toMatchObject({
    message: expect.not.stringMatching(/was answered|good end/),
  });
  expect(link.isOpen).toBe(true);
}

describe('the gate', () => {
  const ping = '/ipfs/ping/1.0.0';
  const all = [
    ...Object.values(protocols),
    ...['/ipfs/id/1.0.0', '/ipfs/id/push/1.0.0', ping],
    ...['/meshsub/1.0.0', '/meshsub/1.1.0', '/meshsub/1.2.0', '/meshsub/1.3.0', '/floodsub/1.0.0'],
    ...['/libp2p/circuit/relay/0.2.0/hop', '/libp2p/autonat/1.0.0', '/libp2p/fetch/0.0.1', '/nobody/1'],
  ];

  it.each(paths)('opens join alone to a stranger: %s', (path) =>
    watched({ victim, witness }, async () => {
      const { peer, link, stream } = await stranger(path);
      for (const protocol of all.filter((other) => other !== protocols.join)) {
        await isRefused(link, protocol);
      }
      await say(stream, greetingOf(certify(peer.key)));
      await peer.hear('admitted');
    }),
  );

  it.each(paths)('opens to a client neither gossip nor what lends devices: %s', (path) =>
    watched({ victim, witness }, async () => {
      const peer = await hostilePeer(path);
      const { link } = await peer.enter(victim.address(path), certify(peer.key, 'client'));
      const { gossip, rpc, blob } = protocols;
      const ofGossipsub = all.filter((protocol) => /meshsub|floodsub/.test(protocol));
      for (const protocol of [gossip, rpc, blob, ...ofGossipsub]) {
        await isRefused(link, protocol);
      }
      const echo = await link.open(ping);
      await echo.write(noise.subarray(0, 32));
      expect(await inTime(echo.read(), 'for a ping')).toEqual(noise.subarray(0, 32));
    }),
  );
});
