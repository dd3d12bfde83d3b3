// `node test/sim/figures.ts --sizes 10,100,1000`: what membership costs a node, and how fast an announcement
// spreads, by the real code over the model of broadcast. 1000 nodes take a while.
import { parseArgs } from 'node:util';
import { Membership } from '../../src/mesh/membership.ts';
import type { MembershipEffect } from '../../src/mesh/membership-events.ts';
import { announceEveryMs } from '../../src/mesh/own-record.ts';
import { type LocalFacts, noFacts, type RecordModel } from '../../src/mesh/record.ts';
import { CertificateCache, issueCertificate } from '../../src/trust/certificate.ts';
import { checkSignature, KeyPair, keyBytes, keyText } from '../../src/trust/keys.ts';
import { MeshTrust } from '../../src/trust/mesh-trust.ts';
import type { Random } from '../../src/util/random.ts';
import { BroadcastModel, gossipsubParameters } from './broadcast-model.ts';
import { pick, randomStream } from './random-streams.ts';
import { rememberingCheck, rememberingReaders } from './remembering.ts';
import { SimulatedNode, type Surroundings } from './simulated-node.ts';
import { startOfTimeMs, VirtualClock } from './virtual-clock.ts';
import { calmNetwork, VirtualNetwork } from './virtual-network.ts';

export interface Figures {
  readonly nodes: number;
  /** What one node sends in a minute when nothing changes, on average. */
  readonly broadcastBytes: number;
  readonly linkBytes: number;
  /** From a change to the median node's and the last node's knowledge of it; medians over the samples. */
  readonly halfMs: number;
  readonly allMs: number;
}

/** Until links, and whom broadcasts are passed on to, are as they stay. */
const settleMs = 60_000;
const minuteMs = 60_000;
const samples = 5;

/** Devices and models of an ordinary node, so that its record has an ordinary size. */
function ordinaryFacts(name: string, change: number): LocalFacts {
  const model = (index: number): RecordModel => ({
    name: `org/model-${index}-instruct:Q4_K_M`,
    digest: String(index).repeat(64).slice(0, 64),
    attached: false,
    state: 'ready',
    kind: 'chat',
    sizeBytes: 5_000_000_000,
    contextTokens: 32_768,
    slots: 4,
    architecture: 'llama',
    quantisation: 'Q4_K_M',
    abilities: [],
  });
  const device = { name: 'GPU of some kind', kind: 'cuda', totalBytes: 24e9, usableBytes: 23e9 };
  return {
    ...noFacts,
    name,
    version: `0.1.${change}`,
    addresses: [`/dns4/${name}/tcp/4001`],
    devices: [{ ...device, bandwidthBytes: undefined }],
    models: [model(1), model(2)],
  };
}

/** Runs a mesh of `size` nodes and measures it; the same seed gives the same figures. */
export function measureMesh(size: number, seed: number): Figures {
  const clock = new VirtualClock();
  const network = new VirtualNetwork(clock, randomStream(seed, 'network'), calmNetwork);
  const broadcast = new BroadcastModel(clock, randomStream(seed, 'broadcast'), network, gossipsubParameters);
  const spread = new Spread(clock);
  const records: Uint8Array[] = [];
  const stepped: Surroundings['stepped'] = (node, event, effects) => {
    spread.stepped(node, effects);
    if (event.type === 'started') {
      records.push(...effects.flatMap((effect) => (effect.type === 'broadcast' ? [effect.envelope] : [])));
    }
  };
  const nodes = startMesh(size, seed, { clock, network, broadcast, stepped, keepsMemories: false });
  acquaint(nodes, records);
  const windowMs = Math.max(minuteMs, announceEveryMs(size));
  spreadOut(nodes, windowMs, clock, randomStream(seed, 'phases'));
  clock.runUntil(settleMs + windowMs);
  const before = total(nodes, broadcast, network);
  clock.runUntil(settleMs + 2 * windowMs);
  const after = total(nodes, broadcast, network);
  const nodeMinutes = (size * windowMs) / minuteMs;
  const random = randomStream(seed, 'changes');
  const times = Array.from({ length: samples }, (_, change) => {
    const node = pick(random, nodes);
    if (node !== undefined) {
      spread.begin(node);
      node.process?.take({ type: 'facts', facts: ordinaryFacts(node.name, change + 1) });
    }
    clock.runUntil(clock.nowMs + minuteMs / 2);
    return spread.timesMs();
  });
  return {
    nodes: size,
    broadcastBytes: (after.broadcast - before.broadcast) / nodeMinutes,
    linkBytes: (after.links - before.links) / nodeMinutes,
    halfMs: median(times.map((each) => each[Math.floor((size - 1) / 2)] ?? Number.NaN)),
    allMs: median(times.map((each) => each[size - 2] ?? Number.NaN)),
  };
}

/** When each node first hears of a change of one of them. */
class Spread {
  readonly #clock: VirtualClock;
  readonly #knownMs = new Map<string, number>();
  #subject: SimulatedNode | undefined;
  #beganMs = 0;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  begin(subject: SimulatedNode): void {
    this.#subject = subject;
    this.#beganMs = this.#clock.nowMs;
    this.#knownMs.clear();
  }

  stepped(node: SimulatedNode, effects: readonly MembershipEffect[]): void {
    const { peer } = this.#subject ?? {};
    if (peer === undefined || node.peer === peer || this.#knownMs.has(node.peer)) {
      return;
    }
    const tells = (effect: MembershipEffect): boolean =>
      effect.type === 'notice' && effect.notice.type === 'changed' && effect.notice.peers.includes(peer);
    if (effects.some(tells)) {
      this.#knownMs.set(node.peer, this.#clock.nowMs - this.#beganMs);
    }
  }

  /** Shortest first. */
  timesMs(): number[] {
    return [...this.#knownMs.values()].sort((one, other) => one - other);
  }
}

/** Everybody hears of everybody, as if they had been one mesh for long: 1000 joins would take longer than all the rest. */
function acquaint(nodes: readonly SimulatedNode[], records: readonly Uint8Array[]): void {
  for (const [number, { process }] of nodes.entries()) {
    for (const [author, envelope] of records.entries()) {
      if (author !== number) {
        process?.take({ type: 'heard', peer: nodes[author]?.peer ?? '', envelope });
      }
    }
  }
}

/** Nodes of a mesh that has lived for long do not announce themselves at the same time. */
function spreadOut(
  nodes: readonly SimulatedNode[],
  roundMs: number,
  clock: VirtualClock,
  random: Random,
): void {
  for (const { name, process } of nodes) {
    clock.after(settleMs + random.float() * roundMs, () => {
      process?.take({ type: 'facts', facts: ordinaryFacts(name, 99) });
    });
  }
}

/** Members by the mesh key's own word, who dial a few of each other first; all started at once. */
function startMesh(size: number, seed: number, surroundings: Surroundings): SimulatedNode[] {
  const check = rememberingCheck(checkSignature);
  const key = KeyPair.fromSeed(randomStream(seed, 'mesh key').bytes(keyBytes));
  const meshId = keyText(key.publicKey);
  const readers = rememberingReaders(meshId);
  const certificates = new CertificateCache(meshId, check);
  const known = randomStream(seed, 'bootstrap');
  const nodes: SimulatedNode[] = [];
  for (let number = 0; number < size; number += 1) {
    const name = `n${number}`;
    const identity = KeyPair.fromSeed(randomStream(seed, `key of ${number}`).bytes(keyBytes));
    const node = new SimulatedNode({ name, identity, listens: true, surroundings });
    const issue = { peerKey: identity.publicKey, role: 'serve', nowMs: startOfTimeMs } as const;
    const certificate = issueCertificate({ issuer: { meshId, key }, ...issue });
    const trust = new MeshTrust({ meshId, check, certificates });
    const membership = new Membership({
      identity,
      meshId,
      trust,
      check,
      readers,
      certificate,
      role: 'serve',
      facts: ordinaryFacts(name, 0),
      bootstrap: Array.from({ length: Math.min(number, 2) }, () => pick(known, nodes)).flatMap((other) =>
        other?.address === undefined ? [] : [{ peerId: other.peer, addresses: [other.address] }],
      ),
      isFounder: true,
      // A thousand nodes that beat each other would take hours, and beats cost each neighbour the same.
      beats: false,
      random: randomStream(seed, `thoughts of ${number}`),
    });
    nodes.push(node);
    node.start({ skewMs: 0, driftPpm: 0 }, undefined, { membership, trust });
  }
  return nodes;
}

function total(
  nodes: readonly SimulatedNode[],
  broadcast: BroadcastModel,
  network: VirtualNetwork,
): { readonly broadcast: number; readonly links: number } {
  const sum = (bytesOf: (peer: string) => number): number =>
    nodes.reduce((bytes, { peer }) => bytes + bytesOf(peer), 0);
  return {
    broadcast: sum((peer) => broadcast.sent(peer).bytes),
    links: sum((peer) => network.sent(peer).bytes),
  };
}

function median(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[values.length >> 1] ?? Number.NaN;
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { sizes: { type: 'string', default: '10,100,1000' }, seed: { type: 'string', default: '1' } },
  });
  process.stdout.write(
    '| nodes | broadcast kB a node a minute | links kB | half know after | all know after |\n',
  );
  process.stdout.write('|---|---|---|---|---|\n');
  for (const size of values.sizes.split(',').map(Number)) {
    const { nodes, broadcastBytes, linkBytes, halfMs, allMs } = measureMesh(size, Number(values.seed));
    const kilobytes = [broadcastBytes, linkBytes].map((bytes) => (bytes / 1000).toFixed(1));
    const spread = [halfMs, allMs].map((ms) => `${ms.toFixed(0)} ms`);
    process.stdout.write(`| ${[nodes, ...kilobytes, ...spread].join(' | ')} |\n`);
  }
}
