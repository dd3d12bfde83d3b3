// Who may run on a model now and who waits, as a pure state machine: (state, event) -> [state, effects].
// The owner's requests go before those of peers, interactive ones before batch, peers take turns. Who runs
// is never interrupted, and nobody is starved but peers by an owner who needs all of the machine.
import type { Priority } from '../inference/request.ts';
import { peerLimits, queueLimits } from '../util/limits/dispatch.ts';

/** A request that wants to run. */
export interface Ticket {
  readonly id: number;
  readonly priority: Priority;
  /** Slots it takes: one per choice. More than it could ever hold count as all of those. */
  readonly slots: number;
  /** Id of the peer that asks. Absent: local, i.e. the owner of this machine through its own API. */
  readonly caller?: string | undefined;
}

const lanes = ['localInteractive', 'peersInteractive', 'localBatch', 'peersBatch'] as const;

/** Where tickets wait. Lanes have their turns in this order. */
export type Lane = (typeof lanes)[number];

/**
 * How many may wait, and how slots are shared: see queueLimits and peerLimits. Tickets of peers do not count towards
 * `waiting`, or a flood of them would refuse the owner.
 */
export interface AdmissionBounds {
  readonly waiting: number;
  readonly queuedPerPeer: number;
  readonly queued: number;
  readonly interactiveStreak: number;
  readonly ownerSlots: number;
  readonly ownerSlotsFrom: number;
}

export interface Admission {
  readonly bounds: AdmissionBounds;
  /** Slots of the model. */
  readonly capacity: number;
  /** The owner has not asked for long: no slot is kept for him. */
  readonly isOwnerAway: boolean;
  /** Who holds slots, by ticket id. */
  readonly running: ReadonlyMap<number, Holding>;
  readonly waiting: Readonly<Record<Lane, readonly Ticket[]>>;
  /** Tickets of other lanes started since a batch lane last had its turn while somebody waited there. */
  readonly passed: Readonly<Record<'localBatch' | 'peersBatch', number>>;
  /** Peers that had a turn, the latest last. Of as many as can wait: the others had theirs before all of these. */
  readonly served: readonly string[];
  /** Tickets of peers, one a lane, that were next and too wide for the slots there were: they stay next. */
  readonly claims: ReadonlySet<number>;
}

export interface Holding {
  readonly slots: number;
  readonly caller: string | undefined;
}

export type AdmissionEvent =
  | { readonly type: 'arrive'; readonly ticket: Ticket }
  /** It has finished, or given up waiting. */
  | { readonly type: 'leave'; readonly id: number }
  | { readonly type: 'capacity'; readonly slots: number }
  /** Whether the owner has not asked for long: then no slot is kept for him. */
  | { readonly type: 'owner'; readonly isAway: boolean };

export type AdmissionEffect =
  | { readonly type: 'start'; readonly id: number }
  /** Too many wait already, by this bound. */
  | { readonly type: 'refuse'; readonly id: number; readonly bound: WaitingBound };

export type WaitingBound = 'waiting' | 'queuedPerPeer' | 'queued';

type Step = [state: Admission, effects: readonly AdmissionEffect[]];

const usualBounds: AdmissionBounds = { ...queueLimits, ...peerLimits };

/** An idle queue before a model with `capacity` slots. */
export function idleAdmission(capacity: number, bounds: AdmissionBounds = usualBounds): Admission {
  return {
    bounds,
    capacity,
    isOwnerAway: false,
    running: new Map(),
    waiting: { localInteractive: [], peersInteractive: [], localBatch: [], peersBatch: [] },
    passed: { localBatch: 0, peersBatch: 0 },
    served: [],
    claims: new Set(),
  };
}

/** The state after an event, and what is to be done about it, in order. */
export function stepAdmission(state: Admission, event: AdmissionEvent): Step {
  switch (event.type) {
    case 'arrive':
      return arrive(state, event.ticket);
    case 'leave':
      return startWaiting(without(state, event.id));
    case 'capacity':
      return startWaiting({ ...state, capacity: Math.max(1, event.slots) });
    case 'owner':
      return startWaiting({ ...state, isOwnerAway: event.isAway });
  }
}

/** Tickets that wait, the owner's and the peers'. */
export function waitingCount({ waiting }: Admission): number {
  return lanes.reduce((sum, lane) => sum + waiting[lane].length, 0);
}

/** Slots held by the owner's requests and by the peers'. */
export function slotsHeld({ running }: Admission): { local: number; peers: number } {
  const held = { local: 0, peers: 0 };
  for (const { slots, caller } of running.values()) {
    held[caller === undefined ? 'local' : 'peers'] += slots;
  }
  return held;
}

function arrive(state: Admission, ticket: Ticket): Step {
  const lane = laneOf(ticket);
  const [arrived, effects] = startWaiting(withLine(state, lane, [...state.waiting[lane], ticket]));
  const refusal = refusalAfter(arrived, ticket);
  if (refusal === undefined) {
    return [arrived, effects];
  }
  // Others may have waited for the one who goes.
  const [settled, starts] = startWaiting(without(arrived, refusal.id));
  return [settled, [...effects, refusal, ...starts]];
}

/** Starts tickets while the one whose turn it is fits. */
function startWaiting(state: Admission): Step {
  const effects: AdmissionEffect[] = [];
  let current = state;
  for (let next = nextToStart(current); next !== undefined; next = nextToStart(current)) {
    current = started(current, next);
    effects.push({ type: 'start', id: next.id });
  }
  return [withClaim(current), effects];
}

/** Who can start now. A wide ticket whose turn it is is not passed while it does not fit, or it would wait for ever. */
function nextToStart(state: Admission): Ticket | undefined {
  const free = freeSlots(state);
  const lane = free.local < 1 ? undefined : laneInTurn(state);
  if (lane === undefined) {
    return undefined;
  }
  if (lane === 'localInteractive' || lane === 'localBatch') {
    return thatFits(state, state.waiting[lane][0], free.local);
  }
  const peers = free.peers < 1 ? undefined : thatFits(state, nextOfPeers(state, lane), free.peers);
  // Peers who wait are not delayed by who takes a slot that they could not have.
  return peers ?? thatFits(state, state.waiting.localBatch[0], free.owner);
}

function thatFits(state: Admission, ticket: Ticket | undefined, free: number): Ticket | undefined {
  return ticket !== undefined && slotsTaken(state, ticket) <= free ? ticket : undefined;
}

/**
 * The lane whose turn it is. Local interactive requests are strictly before all of peers: an owner who keeps the
 * machine busy shuts peers out, who have other nodes to ask. A few requests may pass the owner's batch, of whomever
 * they are, then it is next. So with peers' batch, but that it only takes the turn of peers' interactive requests.
 */
function laneInTurn({ waiting, passed, bounds }: Admission): Lane | undefined {
  const waits = (lane: Lane): boolean => waiting[lane].length > 0;
  const isDue = (lane: keyof Admission['passed']): boolean =>
    waits(lane) && passed[lane] >= bounds.interactiveStreak;
  const lane = isDue('localBatch') ? 'localBatch' : lanes.find(waits);
  return lane === 'peersInteractive' && isDue('peersBatch') ? 'peersBatch' : lane;
}

/**
 * The first ticket of the peer that holds the fewest slots; of equal ones the peer whose last turn is longest ago,
 * then who came first. One that was next already stays so: peers who come later would pass a wide one for ever.
 */
function nextOfPeers(state: Admission, lane: Lane): Ticket | undefined {
  const line = state.waiting[lane];
  const claimed = line.find(({ id }) => state.claims.has(id));
  if (claimed !== undefined) {
    return claimed;
  }
  const held = slotsByCaller(state);
  const turns = new Map<string | undefined, number>(state.served.map((caller, turn) => [caller, turn]));
  const heldBy = ({ caller }: Ticket): number => held.get(caller) ?? 0;
  const lastTurnOf = ({ caller }: Ticket): number => turns.get(caller) ?? -1;
  const isBefore = (one: Ticket, other: Ticket): boolean =>
    heldBy(one) < heldBy(other) || (heldBy(one) === heldBy(other) && lastTurnOf(one) < lastTurnOf(other));
  return line.reduce<Ticket | undefined>(
    (next, ticket) => (next === undefined || isBefore(ticket, next) ? ticket : next),
    undefined,
  );
}

/** Once nobody can start: a ticket of peers that waits although there is a slot for a narrower one claims its turn. */
function withClaim(state: Admission): Admission {
  const lane = freeSlots(state).peers < 1 ? undefined : laneInTurn(state);
  const ticket = lane === 'peersInteractive' || lane === 'peersBatch' ? nextOfPeers(state, lane) : undefined;
  return ticket === undefined || state.claims.has(ticket.id)
    ? state
    : { ...state, claims: new Set(state.claims).add(ticket.id) };
}

function started(state: Admission, ticket: Ticket): Admission {
  const { id, caller } = ticket;
  return {
    ...without(state, id),
    running: new Map(state.running).set(id, { slots: slotsTaken(state, ticket), caller }),
    passed: passedAfter(state, laneOf(ticket)),
    served: caller === undefined ? state.served : servedAfter(state, caller),
  };
}

function passedAfter({ waiting, passed }: Admission, starting: Lane): Admission['passed'] {
  const count = (lane: keyof Admission['passed'], isPassed: boolean): number =>
    starting === lane || waiting[lane].length === 0 ? 0 : passed[lane] + (isPassed ? 1 : 0);
  return {
    localBatch: count('localBatch', true),
    // What the owner starts is no turn of peers.
    peersBatch: count('peersBatch', starting === 'peersInteractive'),
  };
}

function servedAfter({ served, bounds }: Admission, caller: string): readonly string[] {
  return [...served.filter((other) => other !== caller), caller].slice(-bounds.queued);
}

/** Slots that may be given out now: to the owner, to peers, and to the owner without taking any from peers. */
function freeSlots(state: Admission): { local: number; peers: number; owner: number } {
  const held = slotsHeld(state);
  const local = state.capacity - held.local - held.peers;
  const kept = ownerSlots(state);
  return {
    local,
    peers: Math.min(local, state.capacity - kept - held.peers),
    owner: Math.min(local, kept - held.local),
  };
}

/** Slots that peers do not get: running requests are not interrupted, so the owner needs one that is not taken. */
function ownerSlots({ capacity, bounds, isOwnerAway }: Admission): number {
  return !isOwnerAway && capacity >= bounds.ownerSlotsFrom ? bounds.ownerSlots : 0;
}

function slotsTaken(state: Admission, { slots, caller }: Ticket): number {
  return Math.min(slots, state.capacity - (caller === undefined ? 0 : ownerSlots(state)));
}

/** Whom the arrival of `newcomer` leaves no room to wait. */
function refusalAfter(
  { waiting, bounds }: Admission,
  newcomer: Ticket,
): Extract<AdmissionEffect, { type: 'refuse' }> | undefined {
  const { id, caller } = newcomer;
  if (caller === undefined) {
    const count = waiting.localInteractive.length + waiting.localBatch.length;
    return count > bounds.waiting ? { type: 'refuse', id, bound: 'waiting' } : undefined;
  }
  const ofPeers = [...waiting.peersInteractive, ...waiting.peersBatch];
  if (ofPeers.filter((ticket) => ticket.caller === caller).length > bounds.queuedPerPeer) {
    return { type: 'refuse', id, bound: 'queuedPerPeer' };
  }
  return ofPeers.length > bounds.queued
    ? { type: 'refuse', id: surplusOf(ofPeers, newcomer).id, bound: 'queued' }
    : undefined;
}

/**
 * Who goes when peers have used up all places: the last ticket of the peer with the most of them, batch before
 * interactive, so that a few peers cannot keep another one out. The newcomer, if its own peer has as many.
 */
function surplusOf(ofPeers: readonly Ticket[], newcomer: Ticket): Ticket {
  const counts = new Map<string | undefined, number>();
  for (const { caller } of ofPeers) {
    counts.set(caller, (counts.get(caller) ?? 0) + 1);
  }
  let most = newcomer.caller;
  for (const [caller, count] of counts) {
    most = count > (counts.get(most) ?? 0) ? caller : most;
  }
  const last = most === newcomer.caller ? undefined : ofPeers.findLast(({ caller }) => caller === most);
  return last ?? newcomer;
}

function slotsByCaller({ running }: Admission): ReadonlyMap<string | undefined, number> {
  const held = new Map<string | undefined, number>();
  for (const { slots, caller } of running.values()) {
    held.set(caller, (held.get(caller) ?? 0) + slots);
  }
  return held;
}

function laneOf({ priority, caller }: Ticket): Lane {
  if (priority === 'batch') {
    return caller === undefined ? 'localBatch' : 'peersBatch';
  }
  return caller === undefined ? 'localInteractive' : 'peersInteractive';
}

/** The state after a ticket has left, whatever it was doing. */
function without(state: Admission, id: number): Admission {
  if (state.running.has(id)) {
    const running = new Map(state.running);
    running.delete(id);
    return { ...state, running };
  }
  const lane = lanes.find((one) => state.waiting[one].some((ticket) => ticket.id === id));
  if (lane === undefined) {
    return state;
  }
  const others = state.waiting[lane].filter((ticket) => ticket.id !== id);
  const claims = new Set(state.claims);
  claims.delete(id);
  return { ...withLine(state, lane, others), claims };
}

function withLine(state: Admission, lane: Lane, line: readonly Ticket[]): Admission {
  return { ...state, waiting: { ...state.waiting, [lane]: line } };
}
