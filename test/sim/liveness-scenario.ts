// Scenarios about who lives: small meshes that beat each other for a minute or two while processes and machines die,
// stop and come back, cables are pulled, and members lie. As data made from a seed, like scenario.ts.
import type { Role } from '../../src/trust/roles.ts';
import type { Random } from '../../src/util/random.ts';
import { between, chance, integerBetween, pick, randomStream, shuffled } from './random-streams.ts';
import type { LieKind, NodeNumber, NodePlan, Scenario, TimedAction } from './scenario.ts';
import { calmNetwork, type NetworkConditions } from './virtual-network.ts';

const joinsMs = 6_000;
/** Everybody is linked to everybody by then. */
export const settledMs = 16_000;
const lastFaultMs = 60_000;
const longestFaultMs = 16_000;
/** Everything is whole again. */
const healMs = lastFaultMs + longestFaultMs;
/** Whoever was dialled in vain for the longest fault is dialled again by then, and has been heard of. */
const endMs = healMs + 34_000;

/** Every fifth seed: nothing happens at all. */
export function isCalm(seed: number): boolean {
  return seed % 5 === 0;
}

export function makeLivenessScenario(seed: number, options = { mostNodes: 12 }): Scenario {
  const random = randomStream(seed, 'liveness scenario');
  const count = integerBetween(random, 3, options.mostNodes);
  const faults = isCalm(seed) ? [] : makeFaults(randomStream(seed, 'liveness faults'), count);
  const actions = [...makeJoins(randomStream(seed, 'liveness joins'), count), ...faults];
  return {
    seed,
    ageMs: 0,
    beats: true,
    nodes: Array.from({ length: count }, (_, node) => makeNode(random, node)),
    actions: actions.sort((one, other) => one.atMs - other.atMs),
    conditions: makeConditions(randomStream(seed, 'liveness conditions')),
    broadcastDrop: pick(random, [0, 0, 0, 0.2]) ?? 0,
    healMs,
    endMs,
  };
}

/** Numbers 0 and 1 can be dialled, so that the others have somewhere to meet. */
function makeNode(random: Random, node: NodeNumber): NodePlan {
  const clock = { skewMs: Math.round(between(random, -2_000, 2_000)), driftPpm: between(random, -50, 50) };
  return { clock, listens: node < 2 || chance(random, 0.7) };
}

/** From a house's network to one across the world; in every third some messages are lost. */
function makeConditions(random: Random): NetworkConditions {
  const delayMs = pick(random, [1, 5, 25, 80, 150]) ?? 1;
  const jitterMs = between(random, 1, 50);
  return { ...calmNetwork, delayMs, jitterMs, loss: pick(random, [0, 0, 0.02]) ?? 0 };
}

function makeJoins(random: Random, count: number): TimedAction[] {
  return Array.from({ length: count - 1 }, (_, index) => {
    const [node, atMs] = [index + 1, Math.round((joinsMs * (index + 1)) / count)];
    const role: Role = node > 2 && chance(random, 0.2) ? 'client' : 'serve';
    const invite = { invite: node, by: 0, role, maxUses: 1, strict: false, lifeMs: 86_400_000 };
    return [
      { atMs, action: { type: 'invite', ...invite } },
      { atMs: atMs + 100, action: { type: 'join', node, invite: node } },
    ] as const;
  }).flat();
}

function makeFaults(random: Random, count: number): TimedAction[] {
  const numbers = shuffled(
    random,
    Array.from({ length: count }, (_, number) => number),
  );
  // Whoever lies tells no truth that others could count on, so that most of a mesh are honest.
  const liar = count > 3 && chance(random, 0.5) ? numbers.pop() : undefined;
  const faults = Array.from({ length: integerBetween(random, 1, 5) }, () => {
    const atMs = Math.round(between(random, settledMs, lastFaultMs));
    return makeFault(random, shuffled(random, numbers), atMs);
  }).flat();
  return liar === undefined ? faults : [...faults, ...makeLies(random, liar, numbers)];
}

/** `numbers` in random order: the first is whom it happens to. */
function makeFault(random: Random, numbers: readonly NodeNumber[], atMs: number): TimedAction[] {
  const [node = 0, ...others] = numbers;
  const forMs = Math.round(between(random, 300, longestFaultMs));
  const some = others.slice(0, integerBetween(random, 1, Math.max(1, others.length - 1)));
  const noticed = chance(random, 0.5);
  const cut = (from: readonly NodeNumber[], to: readonly NodeNumber[]): TimedAction => ({
    atMs,
    action: { type: 'cut', from, to, noticed, forMs },
  });
  const kinds = [
    'kill',
    'power',
    'stop',
    'stop',
    'cable',
    'cable',
    'some',
    'some',
    'deaf',
    'mute',
    'leave',
  ] as const;
  switch (pick(random, kinds)) {
    case 'kill':
      return makeDeath(random, node, { atMs, forMs, died: 'process' });
    case 'power':
      return makeDeath(random, node, { atMs, forMs, died: 'machine' });
    case 'stop':
      return [{ atMs, action: { type: 'stop', node, forMs } }];
    case 'cable':
      return [cut([node], others), cut(others, [node])];
    case 'some':
      return [cut([node], some), cut(some, [node])];
    case 'deaf':
      return [cut(others, [node])];
    case 'mute':
      return [cut([node], chance(random, 0.5) ? others : some)];
    case 'leave':
      return node === 0 ? [] : [{ atMs, action: { type: 'leave', node } }];
    case undefined:
      return [];
  }
}

/** Two of three come back, some with their memory. */
function makeDeath(
  random: Random,
  node: NodeNumber,
  {
    atMs,
    forMs,
    died,
  }: { readonly atMs: number; readonly forMs: number; readonly died: 'process' | 'machine' },
): TimedAction[] {
  const death: TimedAction = { atMs, action: { type: 'crash', node, died } };
  const memory = pick(random, ['all', 'none'] as const) ?? 'all';
  const clock = { skewMs: 0, driftPpm: 0 };
  const restart: TimedAction = { atMs: atMs + forMs, action: { type: 'restart', node, memory, clock } };
  return chance(random, 0.66) ? [death, restart] : [death];
}

function makeLies(random: Random, node: NodeNumber, others: readonly NodeNumber[]): TimedAction[] {
  const kinds = shuffled(random, [
    'deaths',
    'vouching',
    'hasty-answers',
  ] as const satisfies readonly LieKind[]);
  return kinds.slice(0, integerBetween(random, 1, 3)).map((kind) => {
    const about = pick(random, others) ?? 0;
    const atMs = Math.round(between(random, settledMs, settledMs + 10_000));
    return { atMs, action: { type: 'lie', node, kind, about, forMs: lastFaultMs - atMs } };
  });
}
