// What is to happen in one simulation, as data made from a seed: who there is, and what is done to them when.
// Being data it can be printed, and cut down to what makes a seed fail.
import type { Role } from '../../src/trust/roles.ts';
import type { Random } from '../../src/util/random.ts';
import { between, chance, integerBetween, pick, randomStream, shuffled } from './random-streams.ts';
import type { ClockError } from './virtual-clock.ts';
import { calmNetwork, type NetworkConditions } from './virtual-network.ts';

/** A machine of the simulation by its place in `Scenario.nodes`. Number 0 makes the mesh and holds its key. */
export type NodeNumber = number;

export interface NodePlan {
  readonly clock: ClockError;
  /** A node that does not listen reaches others, and nobody reaches it. */
  readonly listens: boolean;
}

/** Who is no member, and how it tries to pass for one. */
export type IntruderKind =
  /** A member of another mesh with a token of its own making. */
  | 'stranger'
  /** A node that shows the certificate of a member. */
  | 'impostor'
  /** A node that has written its own key into one. */
  | 'forger';

/** What a member does that should not. */
export type LieKind =
  /** It signs again and again that one who lives is dead. */
  | 'deaths'
  /** It says of everybody that it hears of him. */
  | 'vouching'
  /** It answers beats before they can have come. */
  | 'hasty-answers';

/** What survives of a node's memory when it starts again: all, what it was at an earlier time, nothing. */
export type KeptMemory = 'all' | 'earlier' | 'none';

export type Action =
  /** `by` makes invite number `invite`. */
  | {
      readonly type: 'invite';
      readonly invite: number;
      readonly by: NodeNumber;
      readonly role: Role;
      readonly maxUses: number;
      readonly strict: boolean;
      readonly lifeMs: number;
    }
  | { readonly type: 'join'; readonly node: NodeNumber; readonly invite: number }
  | { readonly type: 'intrude'; readonly node: NodeNumber; readonly kind: IntruderKind }
  | { readonly type: 'crash'; readonly node: NodeNumber; readonly died: 'process' | 'machine' }
  | {
      readonly type: 'restart';
      readonly node: NodeNumber;
      readonly memory: KeptMemory;
      readonly clock: ClockError;
    }
  /** Nothing of the machine runs, and its links break. */
  | { readonly type: 'pause'; readonly node: NodeNumber; readonly forMs: number }
  /** The process alone does not run, as after SIGSTOP: its links stand, and what comes waits. */
  | { readonly type: 'stop'; readonly node: NodeNumber; readonly forMs: number }
  /** A member tells lies, for `forMs`; `about` is whom they concern, where they concern one. */
  | {
      readonly type: 'lie';
      readonly node: NodeNumber;
      readonly kind: LieKind;
      readonly about: NodeNumber;
      readonly forMs: number;
    }
  | { readonly type: 'facts'; readonly node: NodeNumber }
  | { readonly type: 'leave'; readonly node: NodeNumber }
  | { readonly type: 'revoke'; readonly node: NodeNumber; readonly by: NodeNumber }
  | {
      readonly type: 'cut';
      readonly from: readonly NodeNumber[];
      readonly to: readonly NodeNumber[];
      readonly noticed: boolean;
      readonly forMs: number;
    };

export interface TimedAction {
  readonly atMs: number;
  readonly action: Action;
}

export interface Scenario {
  readonly seed: number;
  /** Everything that members were given is dated so long ago: old enough for renewals, if it is not 0. */
  readonly ageMs: number;
  /** Whether members beat each other; then it is about who lives (liveness-scenario.ts). */
  readonly beats: boolean;
  readonly nodes: readonly NodePlan[];
  /** In the order of their time; all before `healMs`. */
  readonly actions: readonly TimedAction[];
  readonly conditions: NetworkConditions;
  /** Probability that broadcast loses a message on one hop; 1: there is none. */
  readonly broadcastDrop: number;
  /** From here on nothing goes wrong any more, broadcast excepted if it never worked. */
  readonly healMs: number;
  readonly endMs: number;
}

export interface ScenarioOptions {
  /** Most nodes; at least 3. */
  readonly mostNodes: number;
}

/** Certificates have more than half of their life ahead until they are renewed. */
const oldMs = 40 * 24 * 3_600_000;
const joinsMs = 90_000;
const healMs = 300_000;
/** Long enough for everybody to agree. */
const quietMs = 200_000;
/** Every fourth: long enough that the record of a node that is gone has run out and been forgotten before the end. */
const longQuietMs = 760_000;

export function makeScenario(seed: number, options: ScenarioOptions = { mostNodes: 12 }): Scenario {
  const random = randomStream(seed, 'scenario');
  const count = integerBetween(random, 3, options.mostNodes);
  const actions = [
    ...makeJoins(randomStream(seed, 'joins'), count),
    ...makeIntrusions(randomStream(seed, 'intrusions'), count),
    ...makeFaults(randomStream(seed, 'faults'), count, worstSkewMs(seed)),
    ...makeDepartures(randomStream(seed, 'departures'), count),
  ];
  return {
    seed,
    ageMs: chance(randomStream(seed, 'age'), 0.4) ? oldMs : 0,
    beats: false,
    nodes: Array.from({ length: count + 1 }, (_, node) => ({
      clock: makeClock(random, worstSkewMs(seed)),
      listens: node === 0 || chance(random, 0.85),
    })),
    actions: actions.sort((one, other) => one.atMs - other.atMs),
    conditions: makeConditions(randomStream(seed, 'conditions')),
    broadcastDrop: pick(random, [0, 0, 0.3, 1]) ?? 0,
    healMs,
    endMs: healMs + (seed % 4 === 0 ? longQuietMs : quietMs),
  };
}

/** How far the dates of machines are off in one simulation: in most a little, in some just less than is put up with. */
function worstSkewMs(seed: number): number {
  return pick(randomStream(seed, 'skew'), [50, 2_000, 2_000, 140_000]) ?? 0;
}

function makeClock(random: Random, mostMs: number): ClockError {
  return { skewMs: Math.round(between(random, -mostMs, mostMs)), driftPpm: between(random, -50, 50) };
}

function makeConditions(random: Random): NetworkConditions {
  const isPoor = chance(random, 0.4);
  return {
    ...calmNetwork,
    delayMs: between(random, 1, 60),
    jitterMs: between(random, 1, 200),
    loss: isPoor ? 0.05 : 0,
    duplication: isPoor ? 0.05 : 0,
    reordering: isPoor ? 0.05 : 0,
  };
}

/** Everybody but the founder joins by an invite; some invites are for many, some too small for those who try. */
function makeJoins(random: Random, count: number): TimedAction[] {
  const actions: TimedAction[] = [];
  let node = 1;
  for (let invite = 0; node < count; invite += 1) {
    const atMs = Math.round((joinsMs * node) / count);
    const by = node > 2 && chance(random, 0.4) ? 1 : 0;
    const takers = Math.min(integerBetween(random, 1, 4), count - node);
    const maxUses = chance(random, 0.75) ? takers : integerBetween(random, 1, takers);
    // Number 1 becomes an admin, so that there is one beside the founder.
    const role =
      node === 1 ? 'admin' : (pick(random, ['serve', 'serve', 'admin', 'client'] as const) ?? 'serve');
    const [strict, lifeMs] = [chance(random, 0.15), chance(random, 0.1) ? 2_000 : 86_400_000];
    actions.push({ atMs, action: { type: 'invite', invite, by, role, maxUses, strict, lifeMs } });
    for (const last = node + takers; node < last; node += 1) {
      const joinMs = atMs + Math.round(between(random, 100, 20_000));
      actions.push({ atMs: joinMs, action: { type: 'join', node, invite } });
    }
  }
  return actions;
}

/** One machine more than there are members tries to pass for one. */
function makeIntrusions(random: Random, count: number): TimedAction[] {
  const kind = pick(random, ['stranger', 'impostor', 'forger'] as const) ?? 'stranger';
  const atMs = Math.round(between(random, 30_000, 200_000));
  return [{ atMs, action: { type: 'intrude', node: count, kind } }];
}

function makeFaults(random: Random, count: number, skewMs: number): TimedAction[] {
  // In some simulations everything happens to the same few.
  const victims = shuffled(random, numbersTo(count)).slice(0, integerBetween(random, 1, count));
  return Array.from({ length: integerBetween(random, 2, 10) }, () => {
    const atMs = Math.round(between(random, 10_000, healMs - 2_000));
    return makeFault(random, count, { node: pick(random, victims) ?? 0, atMs, skewMs });
  }).flat();
}

function makeFault(
  random: Random,
  count: number,
  { node, atMs, skewMs }: { readonly node: NodeNumber; readonly atMs: number; readonly skewMs: number },
): TimedAction[] {
  const forMs = Math.round(between(random, 500, chance(random, 0.3) ? 150_000 : 15_000));
  const everybody = shuffled(random, numbersTo(count));
  const some = everybody.slice(0, integerBetween(random, 1, count - 1));
  const others = everybody.filter((number) => !some.includes(number));
  const cut = (from: readonly number[], to: readonly number[], noticed = true): TimedAction => ({
    atMs,
    action: { type: 'cut', from, to, noticed, forMs },
  });
  switch (
    pick(random, [
      'crash',
      'crash',
      'crash',
      'pause',
      'facts',
      'partition',
      'one-way',
      'pair',
      'clog',
    ] as const)
  ) {
    case 'crash':
      return makeCrash(random, node, { atMs, forMs, skewMs });
    case 'pause':
      return [{ atMs, action: { type: 'pause', node, forMs } }];
    case 'facts':
      return [{ atMs, action: { type: 'facts', node } }];
    case 'partition':
      return [cut(some, others), cut(others, some)];
    case 'one-way':
      return [cut(some, others)];
    case 'pair':
      return [cut(some.slice(0, 1), others.slice(0, 1)), cut(others.slice(0, 1), some.slice(0, 1))];
    case 'clog':
      return [cut(some.slice(0, 2), others.slice(0, 2), false)];
    case undefined:
      return [];
  }
}

/** Most crashed nodes start again, some with a memory that is old or lost, and with another date. */
function makeCrash(
  random: Random,
  node: NodeNumber,
  { atMs, forMs, skewMs }: { readonly atMs: number; readonly forMs: number; readonly skewMs: number },
): TimedAction[] {
  const died = pick(random, ['process', 'machine'] as const) ?? 'process';
  const crash: TimedAction = { atMs, action: { type: 'crash', node, died } };
  if (chance(random, 0.2)) {
    return [crash];
  }
  const memory = pick(random, ['all', 'all', 'earlier', 'none'] as const) ?? 'all';
  const restartMs = Math.min(atMs + forMs, healMs - 1_000);
  return [
    crash,
    { atMs: restartMs, action: { type: 'restart', node, memory, clock: makeClock(random, skewMs) } },
  ];
}

/** Some leave, some are thrown out. The founder stays. */
function makeDepartures(random: Random, count: number): TimedAction[] {
  const actions: TimedAction[] = [];
  const someTime = (): number => Math.round(between(random, 100_000, healMs - 1_000));
  const [leaver, revoked] = shuffled(random, numbersTo(count).slice(1));
  if (leaver !== undefined && chance(random, 0.5)) {
    actions.push({ atMs: someTime(), action: { type: 'leave', node: leaver } });
  }
  if (revoked !== undefined && chance(random, 0.5)) {
    const by = chance(random, 0.3) && revoked !== 1 ? 1 : 0;
    actions.push({ atMs: someTime(), action: { type: 'revoke', node: revoked, by } });
  }
  return actions;
}

function numbersTo(count: number): NodeNumber[] {
  return Array.from({ length: count }, (_, number) => number);
}
