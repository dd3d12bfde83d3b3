// Broadcasts by gossipsub on real hosts: five on loopback, each linked to all others.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { type GossipSub, gossipsub } from '@libp2p/gossipsub';
import type { Connection } from '@libp2p/interface';
import { afterEach, describe, expect, it } from 'vitest';
import { GossipsubBroadcast } from '../../../src/mesh/gossipsub-broadcast.ts';
import { gossipsubProtocol } from '../../../src/mesh/gossipsub-peers.ts';
import type { HearingVerdict } from '../../../src/mesh/membership-events.ts';
import type { Libp2pHost } from '../../../src/net/host.ts';
import type { Libp2pComponents, ServiceFactory } from '../../../src/net/libp2p-node.ts';
import type { PeerId } from '../../../src/trust/keys.ts';
import { sleep, systemClock } from '../../../src/util/clock.ts';
import { gossipsubLimits } from '../../../src/util/limits/mesh.ts';
import { trustLimits } from '../../../src/util/limits/trust.ts';
import { silentLogger } from '../../../src/util/logging.ts';
import { systemRandom } from '../../../src/util/random.ts';
import { testHost } from '../../support/test-host.ts';

/** A host with its broadcast, and what it heard. */
interface TestNode {
  readonly host: Libp2pHost;
  readonly broadcast: GossipsubBroadcast;
  readonly heard: Array<{ readonly from: PeerId; readonly text: string }>;
  readonly components: Libp2pComponents;
  /** What it says of an envelope it hears. */
  verdict: (text: string) => HearingVerdict;
  /** Whom it lets in, and may talk to. */
  readonly members: Set<PeerId>;
}

const nodes: TestNode[] = [];

async function startNode(transports = { tcp: true, quic: false }): Promise<TestNode> {
  const members = new Set<PeerId>();
  const gate = (peer: PeerId): boolean => members.has(peer);
  const broadcast = new GossipsubBroadcast({
    gate,
    clock: systemClock,
    log: silentLogger,
  });
  const inside = Promise.withResolvers<Libp2pComponents>();
  const service: ServiceFactory = (components) => {
    inside.resolve(components);
    return broadcast.service(components);
  };
  const host = await testHost({ gate, transports, services: { gossipsub: service } });
  const node: TestNode = {
    host,
    broadcast,
    heard: [],
    components: await inside.promise,
    verdict: () => 'accept',
    members,
  };
  nodes.push(node);
  await broadcast.start((from, envelope) => {
    const text = new TextDecoder().decode(envelope);
    node.heard.push({ from, text });
    return node.verdict(text);
  });
  return node;
}

function startNodes(count: number): Promise<TestNode[]> {
  return Promise.all(Array.from({ length: count }, () => startNode()));
}

async function link(here: TestNode, there: TestNode): Promise<void> {
  await here.host.dial(there.host.peerId, there.host.addresses());
  await reaches(() => there.host.links().some(({ peer }) => peer === here.host.peerId));
}

/** Both sides are up to each other. */
function admit(here: TestNode, there: TestNode): void {
  here.members.add(there.host.peerId);
  there.members.add(here.host.peerId);
  here.broadcast.admit(there.host.peerId);
  there.broadcast.admit(here.host.peerId);
}

async function joinUp(here: TestNode, there: TestNode): Promise<void> {
  await link(here, there);
  admit(here, there);
}

async function joinAll(all: readonly TestNode[]): Promise<void> {
  for (const [index, here] of all.entries()) {
    await Promise.all(all.slice(index + 1).map((there) => joinUp(here, there)));
  }
}

/** Says a word again, in ever new bytes, until `isHeard`: streams and mesh are being made meanwhile. */
async function sayUntil(node: TestNode, isHeard: () => boolean): Promise<void> {
  for (let attempt = 0; !isHeard(); attempt++) {
    node.broadcast.publish(bytes(`warm-up ${attempt}`));
    await sleep(systemClock, 20);
  }
}

function texts(node: TestNode): string[] {
  return node.heard.map(({ text }) => text).filter((text) => !text.startsWith('warm-up'));
}

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** Streams of gossipsub that a node has open, both ways. */
function gossipStreams({ components }: TestNode): number {
  return components.connectionManager
    .getConnections()
    .flatMap(({ streams }: Connection) => streams)
    .filter(({ protocol }) => protocol.startsWith('/meshsub/') || protocol.startsWith('/floodsub/')).length;
}

async function reaches(condition: () => boolean): Promise<void> {
  while (!condition()) {
    await sleep(systemClock, 5);
  }
}

/** Long enough for anything under way on loopback to arrive, and for a heartbeat of gossipsub. */
async function settled(): Promise<void> {
  for (let waits = 0; waits < 30; waits++) {
    await sleep(systemClock, 50);
  }
}

afterEach(async () => {
  const ended = nodes.splice(0);
  await Promise.all(ended.map(({ broadcast }) => broadcast.stop()));
  await Promise.all(ended.map(({ host }) => host.close()));
});

describe('broadcast by gossipsub', () => {
  it('brings an envelope to every member once, whoever says it again', async () => {
    const all = await startNodes(5);
    await joinAll(all);
    const [first, second, ...others] = all as [TestNode, TestNode, ...TestNode[]];
    await sayUntil(first, () => all.slice(1).every(({ heard }) => heard.length > 0));
    first.broadcast.publish(bytes('news'));
    await reaches(() => [second, ...others].every((node) => texts(node).includes('news')));
    second.broadcast.publish(bytes('news'));
    first.broadcast.publish(bytes('news'));
    await settled();
    expect(all.map(texts)).toEqual([[], ['news'], ['news'], ['news'], ['news']]);
  });

  it('names the neighbour that passed an envelope on, and passes on only what is accepted', async () => {
    const [author, middle, last] = (await startNodes(3)) as [TestNode, TestNode, TestNode];
    middle.verdict = (text) => (text === 'false' ? 'reject' : text === 'old' ? 'ignore' : 'accept');
    await joinUp(author, middle);
    await joinUp(middle, last);
    await sayUntil(author, () => last.heard.length > 0);
    for (const text of ['false', 'old', 'true']) {
      author.broadcast.publish(bytes(text));
    }
    await reaches(() => texts(last).includes('true'));
    await settled();
    expect(texts(middle).sort()).toEqual(['false', 'old', 'true']);
    expect(last.heard.filter(({ text }) => text === 'true')).toEqual([
      { from: middle.host.peerId, text: 'true' },
    ]);
    expect(texts(last)).toEqual(['true']);
  });

  it('gives nothing to a linked peer that is not admitted, takes nothing of it, and begins when it is', async () => {
    const [here, there] = (await startNodes(2)) as [TestNode, TestNode];
    await link(here, there);
    // Says that the other is a member, and is none itself.
    there.members.add(here.host.peerId);
    there.broadcast.admit(here.host.peerId);
    here.broadcast.publish(bytes('to nobody'));
    there.broadcast.publish(bytes('of a stranger'));
    await settled();
    expect([texts(here), texts(there), gossipStreams(here)]).toEqual([[], [], 0]);

    admit(here, there);
    await sayUntil(here, () => there.heard.some(({ text }) => text.startsWith('warm-up')));
    await sayUntil(there, () => here.heard.some(({ text }) => text.startsWith('warm-up')));

    here.members.clear();
    here.broadcast.drop(there.host.peerId);
    await reaches(() => gossipStreams(here) === 0);
    const before = [here.heard.length, there.heard.length];
    here.broadcast.publish(bytes('after'));
    there.broadcast.publish(bytes('after as well'));
    await settled();
    expect([here.heard.length, there.heard.length]).toEqual(before);
  });

  it('opens nothing to a member whose role may not', async () => {
    const [server, client] = (await startNodes(2)) as [TestNode, TestNode];
    await link(server, client);
    server.broadcast.admit(client.host.peerId); // The gate says no.
    server.broadcast.publish(bytes('news'));
    await settled();
    expect(gossipStreams(server)).toBe(0);
  });

  it('goes on when the streams break and the link stands', { timeout: 20_000 }, async () => {
    const [here, there] = (await startNodes(2)) as [TestNode, TestNode];
    await joinUp(here, there);
    await sayUntil(here, () => there.heard.length > 0);
    await sayUntil(there, () => here.heard.length > 0);
    await reaches(() => gossipStreams(here) === 2 && gossipStreams(there) === 2);
    const [connection] = here.components.connectionManager.getConnections();
    for (const stream of [...(connection?.streams ?? [])]) {
      stream.abort(new Error('a test breaks it'));
    }
    await reaches(() => gossipStreams(here) === 0);
    const heard = [here.heard.length, there.heard.length];
    await sayUntil(here, () => there.heard.length > (heard[1] ?? 0));
    await sayUntil(there, () => here.heard.length > (heard[0] ?? 0));
  });

  it('goes on over another link when one is lost', { timeout: 20_000 }, async () => {
    const both = { tcp: true, quic: true };
    const [here, there] = await Promise.all([startNode(both), startNode(both)]);
    const paths = (): string[] => here.host.links().map(({ path }) => path);
    await here.host.addPath(there.host.peerId, there.host.addresses(), 'quic');
    await here.host.addPath(there.host.peerId, there.host.addresses(), 'tcp');
    await reaches(() => there.host.links().length === 2);
    admit(here, there);
    await sayUntil(here, () => there.heard.length > 0);
    for (const lost of ['quic', 'tcp'] as const) {
      const [connection] = here.components.connectionManager
        .getConnections()
        .filter(({ remoteAddr }) => remoteAddr.toString().includes('/quic-v1') === (lost === 'quic'));
      connection?.abort(new Error('a test breaks it'));
      await reaches(() => !paths().includes(lost) && there.host.links().length === 1);
      const heard = [here.heard.length, there.heard.length];
      await sayUntil(here, () => there.heard.length > (heard[1] ?? 0));
      await sayUntil(there, () => here.heard.length > (heard[0] ?? 0));
      await here.host.addPath(there.host.peerId, there.host.addresses(), lost);
      await reaches(() => there.host.links().length === 2);
    }
  });

  it('passes envelopes of any size on, up to the largest there is, and drops larger ones', async () => {
    const [author, middle, last] = (await startNodes(3)) as [TestNode, TestNode, TestNode];
    await joinUp(author, middle);
    await joinUp(middle, last);
    await sayUntil(author, () => last.heard.length > 0);
    author.broadcast.publish(new Uint8Array(trustLimits.envelopeBytes + 1).fill(120));
    author.broadcast.publish(new Uint8Array(trustLimits.envelopeBytes).fill(121));
    await reaches(() => texts(last).length > 0);
    await settled();
    const heard = [middle, last].map((node) => texts(node).map((text) => `${text.length} ${text[0]}`));
    expect(heard).toEqual([['65536 y'], ['65536 y']]);
  });

  it('hears no more of a peer that floods it, until it is admitted anew', { timeout: 20_000 }, async () => {
    const [here, flooder] = (await startNodes(2)) as [TestNode, TestNode];
    await joinUp(here, flooder);
    await sayUntil(flooder, () => here.heard.length > 0);
    for (let envelope = 0; gossipStreams(here) > 0; envelope++) {
      flooder.broadcast.publish(bytes(`flood ${envelope}`));
      if (envelope % 100 === 0) {
        await sleep(systemClock, 1);
      }
    }
    await settled();
    const { length } = here.heard;
    expect(length).toBeLessThan(gossipsubLimits.envelopesAtOnce * 2);
    flooder.broadcast.admit(here.host.peerId);
    flooder.broadcast.publish(bytes('more'));
    await settled();
    expect(here.heard.length).toBe(length);

    for (const [node, other] of [
      [here, flooder],
      [flooder, here],
    ] as const) {
      node.broadcast.drop(other.host.peerId);
    }
    admit(here, flooder);
    await sayUntil(flooder, () => here.heard.length > length);
  });

  it('survives what is no gossipsub at all', async () => {
    const [here, vandal] = (await startNodes(2)) as [TestNode, TestNode];
    await link(here, vandal);
    here.members.add(vandal.host.peerId);
    vandal.members.add(here.host.peerId);
    here.broadcast.admit(vandal.host.peerId);
    const [connection] = vandal.components.connectionManager.getConnections();
    for (const size of [1, 1000, gossipsubLimits.rpcBytes * 2]) {
      const stream = await connection?.newStream(gossipsubProtocol);
      stream?.send(systemRandom.bytes(size));
      await sleep(systemClock, 50);
      stream?.abort(new Error('the vandal has had enough'));
    }
    await settled();
    expect(here.heard).toEqual([]);
    vandal.broadcast.admit(here.host.peerId);
    await sayUntil(vandal, () => here.heard.length > 0);
  });

  it('throws nothing when there is nobody to talk to, before the start and after the stop', async () => {
    const [node] = (await startNodes(1)) as [TestNode];
    const unstarted = new GossipsubBroadcast({
      gate: () => true,
      clock: systemClock,
      log: silentLogger,
    });
    unstarted.publish(bytes('news'));
    unstarted.drop('nobody');
    await unstarted.stop();
    node.broadcast.publish(bytes('news'));
    await node.broadcast.stop();
    node.broadcast.publish(bytes('news'));
    node.broadcast.admit(node.host.peerId);
    await node.broadcast.stop();
  });

  it('leaves no timer behind', { timeout: 20_000 }, async () => {
    const script = join(import.meta.dirname, '../../support/short-lived-broadcast.ts');
    const [code] = await once(spawn(process.execPath, [script], { stdio: 'inherit' }), 'exit');
    expect(code).toBe(0);
  });
});

describe('twelve nodes behind one address', { timeout: 30_000 }, () => {
  it('hear each other', async () => {
    const all = await startNodes(12);
    await joinAll(all);
    const [first, ...others] = all as [TestNode, ...TestNode[]];
    await sayUntil(first, () => others.every(({ heard }) => heard.length > 0));
    await settled();
    first.broadcast.publish(bytes('news'));
    await settled();
    expect(others.map(texts)).toEqual(others.map(() => ['news']));
  });

  it('pass nothing on with the stock score: each takes all others for one', async () => {
    const hosts: Libp2pHost[] = [];
    const routers: StockRouter[] = [];
    const service: ServiceFactory = (components) => {
      const router = gossipsub({ allowPublishToZeroTopicPeers: true })(components) as StockRouter;
      routers.push(router);
      return router;
    };
    try {
      for (let started = 0; started < 12; started++) {
        hosts.push(await testHost({ services: { gossipsub: service } }));
      }
      for (const router of routers) {
        router.subscribe('news');
      }
      for (const [index, here] of hosts.entries()) {
        for (const there of hosts.slice(index + 1)) {
          await here.dial(there.peerId, there.addresses());
          await reaches(() => there.links().some(({ peer }) => peer === here.peerId));
          await Promise.all([here.identify(there.peerId), there.identify(here.peerId)]);
        }
      }
      await reaches(() => routers.every((router) => router.getSubscribers('news').length === 11));
      await reaches(() => routers.every((router) => router.getMeshPeers('news').length === 0));
    } finally {
      await Promise.all(hosts.map((host) => host.close()));
    }
  });
});

/** Gossipsub as it comes. */
interface StockRouter extends GossipSub {
  /** To whom it passes on. */
  getMeshPeers(topic: string): string[];
}
