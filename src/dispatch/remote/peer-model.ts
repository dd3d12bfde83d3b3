// One model of one peer, as far as it can be asked from here. A request that is under way hears at once when its node
// is lost.
import { type InferenceEvent, isOutput } from '../../inference/events.ts';
import type { Answerable, EngineFeature } from '../../inference/features.ts';
import type { InferenceKind, InferenceRequest } from '../../inference/request.ts';
import type { MembershipNotice } from '../../mesh/membership-events.ts';
import type { AwaitedWord } from '../../mesh/pulse.ts';
import { type ReplicaLoad, unknownRttMs } from '../../routing/least-loaded.ts';
import type { PeerId } from '../../trust/keys.ts';
import type { Timer } from '../../util/clock.ts';
import { asMeshnodeError, type ErrorCode, MeshnodeError } from '../../util/errors.ts';
import { inferLimits, remoteLimits } from '../../util/limits/dispatch.ts';
import { beatLimits } from '../../util/limits/mesh.ts';
import { askPeer, type InferCallerComponents } from '../infer/ask-peer.ts';
import type { RemoteModel } from '../replica.ts';
import { doubtAfterMs, isDoubted } from './doubt.ts';
import { boundedError } from './peer-error.ts';
import { SentRequests } from './sent-requests.ts';

export interface PeerModelComponents extends InferCallerComponents {
  /** Hears what becomes of peers; the returned function ends that. */
  readonly onNotice: (listener: (notice: MembershipNotice) => void) => () => void;
  /** The word of a peer that is waited for; undefined of one that is not to be heard every second. */
  readonly awaited: (peer: PeerId) => AwaitedWord | undefined;
  /** Told that a peer is asked, and where it can be dialled if its record is not known. */
  readonly routed: (peer: PeerId, addresses?: readonly string[]) => void;
}

/** What others say of the model, or of how busy it is. */
export interface PeerModelFacts {
  /** What its node calls it. */
  readonly name: string;
  readonly abilities: readonly string[];
  readonly slots: number | undefined;
  /** Where its node can be dialled, if the mesh does not know. */
  readonly addresses?: readonly string[];
  /** Who passes requests on to it, and what he calls it; absent: nobody. */
  readonly through?: { readonly peer: PeerId; readonly name: string };
}

/** Its load, as it was told at a monotonic time. */
export interface ToldLoad {
  readonly requests: number;
  readonly slots: number | undefined;
  readonly atMs: number;
}

/** What is known of a peer at the moment; undefined: nothing. */
export interface PeerNews {
  readonly load: ToldLoad | undefined;
  readonly rttMs: number | undefined;
}

export class PeerModel implements RemoteModel {
  readonly name: string;
  readonly capabilities: Answerable;
  readonly #peer: PeerId;
  readonly #facts: PeerModelFacts;
  readonly #news: () => PeerNews;
  readonly #components: PeerModelComponents;
  readonly #sent: SentRequests;
  /** When the peer itself is tried again, after it could not be reached: monotonic. */
  readonly #ways: { closedUntilMs: number };

  constructor(
    peer: PeerId,
    facts: PeerModelFacts,
    news: () => PeerNews,
    components: PeerModelComponents,
    before?: PeerModel,
  ) {
    this.name = facts.name;
    this.capabilities = capabilitiesOf(facts.abilities);
    this.#peer = peer;
    this.#facts = facts;
    this.#news = news;
    this.#components = components;
    this.#sent = before === undefined ? new SentRequests(2 * beatLimits.loadMs) : before.#sent;
    this.#ways = before === undefined ? { closedUntilMs: 0 } : before.#ways;
  }

  /** The same model by what is said of it now: what was sent to it still counts. */
  as(facts: PeerModelFacts, news: () => PeerNews): PeerModel {
    return new PeerModel(this.#peer, facts, news, this.#components, this);
  }

  load(): ReplicaLoad {
    const nowMs = this.#components.clock.monotonicMs();
    const { load, rttMs } = this.#news();
    const isFresh = load !== undefined && nowMs - load.atMs <= beatLimits.loadMs;
    return {
      requests: isFresh
        ? this.#sent.since(load.requests, load.atMs, rttMs ?? unknownRttMs)
        : this.#sent.underWay(),
      slots: load?.slots ?? this.#facts.slots,
      rttMs,
      isDoubted: isDoubted(this.#components.awaited(this.#peer), nowMs),
    };
  }

  async *infer(
    request: InferenceRequest,
    signal: AbortSignal,
    { patient }: { readonly patient: boolean },
  ): AsyncGenerator<InferenceEvent, void, undefined> {
    const { clock } = this.#components;
    const sent = this.#sent.begin(clock.monotonicMs());
    try {
      yield* this.#ask(request, signal, patient);
    } finally {
      sent(clock.monotonicMs());
    }
  }

  /** Asks the peer, or whoever passes requests on to it if there is no way to the peer itself. */
  async *#ask(
    request: InferenceRequest,
    signal: AbortSignal,
    patient: boolean,
  ): AsyncGenerator<InferenceEvent, void, undefined> {
    const { through } = this.#facts;
    const isDetour = through !== undefined && through.peer !== this.#peer;
    const nowMs = this.#components.clock.monotonicMs();
    if (!isDetour || this.#ways.closedUntilMs <= nowMs) {
      let hasBegun = false;
      try {
        for await (const event of this.#askAt(this.#peer, request, signal, patient)) {
          hasBegun = true;
          yield event;
        }
        return;
      } catch (thrown) {
        const { code } = asMeshnodeError(thrown);
        if (!isDetour || hasBegun || code !== 'peer_unreachable' || signal.aborted) {
          throw thrown;
        }
        this.#ways.closedUntilMs = nowMs + remoteLimits.detourMs;
      }
    }
    if (isDetour) {
      const passedOn = { ...request, model: { ...request.model, name: through.name } };
      yield* this.#askAt(through.peer, passedOn, signal, patient);
    }
  }

  async *#askAt(
    peer: PeerId,
    request: InferenceRequest,
    signal: AbortSignal,
    patient: boolean,
  ): AsyncGenerator<InferenceEvent, void, undefined> {
    this.#components.routed(peer, peer === this.#peer ? this.#facts.addresses : undefined);
    const loss = new PeerLoss(this.#components, peer, patient);
    const patienceMs = patient ? inferLimits.resumeMs : 0;
    try {
      for await (const event of askPeer(
        { peer, request, signal, lost: loss.signal, patienceMs },
        this.#components,
      )) {
        loss.hasSaid(event);
        yield event.type === 'error' ? boundedError(event) : event;
      }
    } finally {
      loss.stop();
    }
  }
}

/**
 * Whether a request still has somebody to wait for. Before any output another replica is asked as soon as the peer is
 * doubted, if there is one; otherwise it is waited for until nobody hears of it any more.
 */
class PeerLoss {
  readonly #components: PeerModelComponents;
  readonly #peer: PeerId;
  readonly #controller = new AbortController();
  readonly #stopListening: () => void;
  /** It was asked then, or has said something: its silence before that says nothing. */
  #sinceMs: number;
  #watch: Timer | undefined;
  #hasOutput = false;

  constructor(components: PeerModelComponents, peer: PeerId, patient: boolean) {
    this.#components = components;
    this.#peer = peer;
    this.#sinceMs = components.clock.monotonicMs();
    this.#stopListening = components.onNotice((notice) => {
      if (!('peer' in notice) || notice.peer !== peer) {
        return;
      }
      if (notice.type === 'gone') {
        this.#lose(this.#hasOutput ? 'stream_broken' : 'peer_unreachable', 'is gone');
      } else if (notice.type === 'left' && !this.#hasOutput && !patient) {
        // What it has it brings to an end, which is the best there is if nobody else can be asked.
        this.#lose('peer_unreachable', 'has left the mesh');
      } else if (notice.type === 'silent' && !this.#hasOutput && !patient) {
        this.#lose('peer_unreachable', 'is silent');
      }
    });
    if (!patient) {
      this.#look();
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** An event has come. After a piece of the answer only a verdict is heeded. */
  hasSaid(event: InferenceEvent): void {
    this.#sinceMs = this.#components.clock.monotonicMs();
    if (isOutput(event)) {
      this.#hasOutput = true;
      this.#watch?.cancel();
    }
  }

  stop(): void {
    this.#watch?.cancel();
    this.#stopListening();
  }

  /** Looks again when the peer would have to be doubted. */
  #look(): void {
    const { clock } = this.#components;
    const nowMs = clock.monotonicMs();
    const { sinceMs, lateMs } = this.#awaited(nowMs);
    const dueMs = sinceMs + doubtAfterMs(lateMs);
    this.#watch = clock.after(Math.max(0, dueMs - nowMs), () => {
      if (clock.monotonicMs() - dueMs > beatLimits.lateMs) {
        // This process did not run: what the peer said meanwhile is yet to be read.
        const graceMs = beatLimits.lateMs - doubtAfterMs(lateMs);
        this.#sinceMs = Math.max(this.#sinceMs, clock.monotonicMs() + graceMs);
      }
      // Timers come before what waits in sockets: that is read first.
      this.#watch = clock.after(0, () => this.#doubt());
    });
  }

  #doubt(): void {
    const nowMs = this.#components.clock.monotonicMs();
    if (isDoubted(this.#awaited(nowMs), nowMs)) {
      this.#lose('stream_broken', 'was not heard when it should have been');
    } else {
      this.#look();
    }
  }

  #awaited(nowMs: number): AwaitedWord {
    const { sinceMs, lateMs } = this.#components.awaited(this.#peer) ?? { sinceMs: nowMs, lateMs: 0 };
    return { sinceMs: Math.max(this.#sinceMs, sinceMs), lateMs };
  }

  #lose(code: ErrorCode, what: string): void {
    this.#controller.abort(new MeshnodeError(code, `The node that was asked ${what}.`));
  }
}

const kinds: readonly string[] = [
  'chat',
  'completion',
  'embedding',
  'rerank',
  'transcription',
] satisfies InferenceKind[];

function capabilitiesOf(abilities: readonly string[]): Answerable {
  const isKind = (word: string): word is InferenceKind => kinds.includes(word);
  return {
    kinds: new Set(abilities.filter(isKind)),
    // Words of a later version are asked for by nobody here.
    features: new Set(abilities.filter((word): word is EngineFeature => !isKind(word))),
  };
}
