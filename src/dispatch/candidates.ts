// Of the replicas that may answer a request, those to ask now, in order, or what to wait for. Pure.
import type { LoadedModel } from '../engine/engine.ts';
import { leastLoadedFirst, type ReplicaLoad } from '../routing/least-loaded.ts';
import { MeshnodeError } from '../util/errors.ts';
import { apiLimits } from '../util/limits/api.ts';
import type { LocalReplica, RemoteReplica, Replica } from './replica.ts';

export type ReadyReplica = (LocalReplica & { readonly model: LoadedModel }) | RemoteReplica;

export type Candidates =
  | {
      readonly ask: readonly [ReadyReplica, ...ReadyReplica[]];
      /** One word for `x-meshnode-route`. */
      readonly reason: 'only' | 'least-loaded';
    }
  /** Nothing can be asked yet; this one is on its way. */
  | { readonly wait: LocalReplica };

/** `replicas` are never none. Throws `peer_unreachable` if nobody who serves the model is heard. */
export function candidatesOf(
  replicas: readonly Replica[],
  loadOf: (replica: ReadyReplica) => ReplicaLoad,
): Candidates {
  const ready = leastLoadedFirst(replicas.filter(isReady), loadOf);
  const [coming] = replicas.filter((replica) => replica.where === 'local');
  // Elsewhere it is on its way as well: whoever loads it knows best how long that takes.
  const loading = coming === undefined ? replicas.filter(isHeardFrom) : [];
  const [first, ...others] = ready.length > 0 ? ready : loading;
  if (first !== undefined) {
    return { ask: [first, ...others], reason: replicas.length === 1 ? 'only' : 'least-loaded' };
  }
  if (coming !== undefined) {
    return { wait: coming };
  }
  const [silent] = replicas;
  throw new MeshnodeError(
    'peer_unreachable',
    `Nobody who serves '${silent?.name ?? ''}' can be reached at the moment.`,
    { retryAfterSeconds: apiLimits.silentRetrySeconds },
  );
}

export function isReady(replica: Replica): replica is ReadyReplica {
  if (replica.status.stage !== 'ready') {
    return false;
  }
  return replica.where === 'local' ? replica.model !== undefined : replica.isHeard;
}

function isHeardFrom(replica: Replica): replica is RemoteReplica {
  return replica.where === 'remote' && replica.isHeard;
}
