// Replicas of a model as dispatch sees them, with what a test wants to be special about them.
import type { LocalReplica, RemoteModel, RemoteReplica } from '../../src/dispatch/replica.ts';
import type { LoadedModel } from '../../src/engine/engine.ts';
import type { InferenceEvent } from '../../src/inference/events.ts';
import type { InferenceRequest } from '../../src/inference/request.ts';
import type { ReplicaLoad } from '../../src/routing/least-loaded.ts';
import type { ModelStatus } from '../../src/serving/model-status.ts';

export interface ReplicaFields {
  readonly name?: string;
  readonly digest?: string;
  readonly stage?: ModelStatus['stage'];
  readonly error?: ModelStatus['error'];
}

export function localReplica(fields: ReplicaFields & { readonly model?: LoadedModel } = {}): LocalReplica {
  const { model } = fields;
  return {
    where: 'local',
    peerId: 'here',
    peer: 'here',
    ...named(fields),
    ...(model === undefined ? {} : { model }),
  };
}

export function remoteReplica(
  peerId: string,
  fields: ReplicaFields & { readonly isHeard?: boolean; readonly model?: RemoteModel } = {},
): RemoteReplica {
  const { isHeard = true, model = new ScriptedRemote(fields.name) } = fields;
  return {
    where: 'remote',
    peerId,
    peer: `name of ${peerId}`,
    ...named(fields),
    model,
    isHeard,
    addresses: [],
  };
}

function named({ name = 'demo', digest, stage = 'ready', error }: ReplicaFields) {
  const status: ModelStatus = {
    name,
    reference: name,
    stage,
    createdMs: 0,
    ...(digest === undefined ? {} : { digest }),
    ...(error === undefined ? {} : { error }),
  };
  return { name, digest, status };
}

type Script = (request: InferenceRequest, signal: AbortSignal) => AsyncIterable<InferenceEvent>;

/** A model of another node that answers as it is told to, and keeps what it was asked. */
export class ScriptedRemote implements RemoteModel {
  readonly name: string;
  readonly capabilities = {
    kinds: new Set(['chat', 'completion'] as const),
    features: new Set(['seed'] as const),
  };
  readonly asked: { readonly request: InferenceRequest; readonly patient: boolean }[] = [];
  figures: ReplicaLoad = { requests: 0, slots: 4, rttMs: 1 };
  #script: Script;

  constructor(name = 'demo', script: Script = plainAnswer) {
    this.name = name;
    this.#script = script;
  }

  load(): ReplicaLoad {
    return this.figures;
  }

  infer(
    request: InferenceRequest,
    signal: AbortSignal,
    { patient }: { readonly patient: boolean },
  ): AsyncIterable<InferenceEvent> {
    this.asked.push({ request, patient });
    return this.#script(request, signal);
  }
}

/** A lawful answer of two words. */
export async function* plainAnswer(): AsyncGenerator<InferenceEvent, void, undefined> {
  yield { type: 'accepted', replica: 'remote/demo' };
  yield { type: 'delta', index: 0, text: 'from ' };
  yield { type: 'delta', index: 0, text: 'afar' };
  yield { type: 'finish', index: 0, reason: 'stop' };
  yield { type: 'usage', prompt: 3, cached: 0, completion: 2 };
  yield { type: 'end' };
}
