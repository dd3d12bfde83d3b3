// What a node tells programs while it runs: the lines of `--json` and of the management API's event stream.
// A contract: fields are added, never renamed. Keeps the last of them for those who connect later.
import type { PeerView, RoleName } from '../console/mesh-port.ts';
import type { EngineName } from '../engine/engine.ts';
import type { InferenceKind } from '../inference/request.ts';
import type { ModelStage, ModelStatus } from '../serving/model-status.ts';
import { Emitter } from '../util/async.ts';
import type { Clock } from '../util/clock.ts';
import type { MeshnodeError } from '../util/errors.ts';
import { nodeLimits } from '../util/limits/node.ts';
import type { Logger } from '../util/logging.ts';

/** What happened. */
export type NodeFact =
  /** Who this node is, once others can reach it. Without a mesh there is no `meshId` and no address. */
  | {
      readonly event: 'node';
      readonly peerId: string;
      readonly meshId: string | null;
      readonly role: RoleName;
      /** Multiaddrs that others can dial, the peer id included. */
      readonly addresses: readonly string[];
      readonly name: string;
      readonly version: string;
    }
  | { readonly event: 'api'; readonly url: string }
  | { readonly event: 'console'; readonly url: string }
  /** How another node joins: an invite made at this start. The token is a secret. */
  | {
      readonly event: 'invite';
      readonly token: string;
      readonly role: RoleName;
      readonly uses: number;
      /** ISO 8601. */
      readonly expiresAt: string;
    }
  | {
      readonly event: 'peer';
      readonly peerId: string;
      readonly name?: string;
      readonly state: PeerView['state'];
      readonly rttMs?: number;
    }
  | {
      readonly event: 'model';
      readonly model: string;
      readonly state: ModelStage;
      readonly fraction?: number;
      readonly mode?: 'solo';
      /** What it can be asked for, once it is ready. */
      readonly kinds?: readonly InferenceKind[];
      /** Which engine serves it, once it is ready. */
      readonly engine?: EngineName;
      readonly error?: ErrorFields;
    }
  /** The API answers and every model asked for is ready, and the node is part of its mesh. Comes once. */
  | { readonly event: 'ready' }
  /** Something will go wrong unless somebody acts. */
  | { readonly event: 'warning'; readonly message: string; readonly hint: string }
  | ({ readonly event: 'error' } & ErrorFields);

export interface ErrorFields {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

/** What happened, and when (ISO 8601). */
export type NodeEvent = { readonly time: string } & NodeFact;

/** An event with its number, from 1, by which a client says what it has seen. */
export interface NumberedEvent {
  readonly id: number;
  readonly event: NodeEvent;
}

/** The events of one run of a node. */
export class EventLog {
  readonly #clock: Clock;
  readonly #emitter: Emitter<NumberedEvent>;
  readonly #kept: NumberedEvent[] = [];
  #lastId = 0;

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#emitter = new Emitter((err) => log.error({ err }, 'a listener of events failed'));
  }

  emit(fact: NodeFact): void {
    const event: NodeEvent = { time: new Date(this.#clock.wallMs()).toISOString(), ...fact };
    const numbered = { id: ++this.#lastId, event };
    this.#kept.push(numbered);
    if (this.#kept.length > nodeLimits.events) {
      this.#kept.shift();
    }
    this.#emitter.emit(numbered);
  }

  /**
   * Tells first of what is kept after number `afterId`, then of what comes. A number that was never given
   * is one of an earlier run: then all that is kept is new. The returned function ends it.
   */
  follow(listener: (event: NumberedEvent) => void, afterId = 0): () => void {
    const seenId = afterId > this.#lastId ? 0 : afterId;
    for (const numbered of [...this.#kept]) {
      if (numbered.id > seenId) {
        listener(numbered);
      }
    }
    return this.#emitter.listen(listener);
  }
}

export function modelFact(status: ModelStatus): NodeFact {
  const { name, stage, fraction, engine, capabilities, error } = status;
  return {
    event: 'model',
    model: name,
    state: stage,
    ...(fraction === undefined ? {} : { fraction }),
    ...(stage === 'ready' ? { mode: 'solo' as const } : {}),
    ...(stage !== 'ready' || capabilities === undefined ? {} : { kinds: [...capabilities.kinds] }),
    ...(stage !== 'ready' || engine === undefined ? {} : { engine }),
    ...(error === undefined ? {} : { error: errorFields(error) }),
  };
}

export function errorFields(error: MeshnodeError): ErrorFields {
  return { code: error.code, message: error.message, hint: error.hint };
}
