// A place where a model is served, on this node or on another: what dispatch chooses between.
import type { LoadedModel } from '../engine/engine.ts';
import type { InferenceEvent } from '../inference/events.ts';
import type { Answerable } from '../inference/features.ts';
import type { InferenceRequest } from '../inference/request.ts';
import type { NamedReplica } from '../mesh/model-names.ts';
import type { ReplicaLoad } from '../routing/least-loaded.ts';
import type { ModelStatus } from '../serving/model-status.ts';

export interface LocalReplica extends NamedReplica {
  readonly where: 'local';
  /** What this node is called. */
  readonly peer: string;
  readonly status: ModelStatus;
  /** What to ask; absent until it is loaded. Its process may be restarting. */
  readonly model?: LoadedModel;
}

export interface RemoteReplica extends NamedReplica {
  readonly where: 'remote';
  /** What its node is called. */
  readonly peer: string;
  /** `ready`, or `loading`: then its node may hold the request until it is. */
  readonly status: ModelStatus;
  readonly model: RemoteModel;
  /** Whether its node is heard at the moment. */
  readonly isHeard: boolean;
  /** Where its node can be dialled: multiaddrs without `/p2p`. */
  readonly addresses: readonly string[];
}

export type Replica = LocalReplica | RemoteReplica;

/** A model of another node, as far as it can be asked from here. */
export interface RemoteModel {
  readonly name: string;
  readonly capabilities: Answerable;
  /**
   * Answers a request, which says who is asked as its node knows it. Failures are thrown or the stream's `error`
   * event. `patient`: no other replica can be asked, so that a lost way is waited for even before any output.
   */
  infer(
    request: InferenceRequest,
    signal: AbortSignal,
    options: { readonly patient: boolean },
  ): AsyncIterable<InferenceEvent>;
  /** What is known of its load now. */
  load(): ReplicaLoad;
}

/** The replicas of other nodes. */
export interface RemoteReplicas {
  /** Sees to it that the list is of now, where that takes a question. Never rejects. */
  refresh?(): Promise<void>;
  /** All of nodes that are not known to be gone; in no order. The same list until something changes. */
  replicas(): readonly RemoteReplica[];
  /** Hears that the list has changed; the returned function ends that. */
  onChange(listener: () => void): () => void;
}

/** What is told of a replica of another node. */
export interface RemoteReplicaFacts extends Pick<RemoteReplica, 'peerId' | 'peer' | 'isHeard' | 'addresses'> {
  readonly model: RemoteModel;
  readonly digest: string | undefined;
  readonly stage: 'ready' | 'loading';
  /** When this node heard of it first, wall-clock milliseconds. */
  readonly createdMs: number;
  readonly sizeBytes: number | undefined;
  readonly contextTokens: number | undefined;
}

export function remoteReplicaOf(facts: RemoteReplicaFacts): RemoteReplica {
  const { peerId, peer, model, digest, stage, createdMs, sizeBytes, contextTokens } = facts;
  const { name, capabilities } = model;
  const status: ModelStatus = {
    ...{ name, reference: name, stage, createdMs },
    capabilities: {
      ...capabilities,
      extraFields: new Set(),
      ...(contextTokens === undefined ? {} : { contextTokens }),
    },
    ...(digest === undefined ? {} : { digest }),
    ...(sizeBytes === undefined ? {} : { sizeBytes }),
  };
  const { isHeard, addresses } = facts;
  return { where: 'remote', peerId, peer: peer || peerId, name, digest, status, model, isHeard, addresses };
}
