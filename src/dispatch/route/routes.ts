// Who serves what, as one node tells another that keeps no table: plain values. Their bytes are route-codec.ts's.
import type { MeshModel } from '../../mesh/model-names.ts';
import type { ReplicaLoad } from '../../routing/least-loaded.ts';
import type { PeerId } from '../../trust/keys.ts';
import { isReady, type ReadyReplica } from '../candidates.ts';
import type { Replica } from '../replica.ts';

export interface RoutedModel {
  /** What it is called in the mesh. */
  readonly name: string;
  /** 64 lower-case hex digits; undefined: pending or attached, and then there is one replica. */
  readonly digest: string | undefined;
  readonly sizeBytes: number | undefined;
  readonly contextTokens: number | undefined;
  /** Kinds of request it answers, and features of its engine. */
  readonly abilities: readonly string[];
  readonly replicas: readonly RoutedReplica[];
}

export interface RoutedReplica {
  readonly peerId: PeerId;
  /** Its node's name, for people; may be empty. */
  readonly peer: string;
  /** What the node itself calls the model. */
  readonly model: string;
  readonly state: 'ready' | 'loading';
  /** Requests that it has, waiting ones included, as far as whoever tells knows. */
  readonly requests: number;
  readonly slots: number | undefined;
  /** Multiaddrs without `/p2p`. */
  readonly addresses: readonly string[];
}

/** What this node knows, `addresses` being its own. Whoever is not heard here is not told of. */
export function routedModels(
  models: readonly MeshModel<Replica>[],
  addresses: readonly string[],
  loadOf: (replica: ReadyReplica) => ReplicaLoad,
): RoutedModel[] {
  return models.flatMap(({ name, digest, replicas }) => {
    const told = replicas.filter((replica) => replica.where === 'local' || replica.isHeard);
    const best = told.find(isReady) ?? told[0];
    if (best === undefined) {
      return [];
    }
    const { capabilities, sizeBytes } = best.status;
    return [
      {
        ...{ name, digest, sizeBytes },
        contextTokens: capabilities?.contextTokens,
        abilities: [...(capabilities?.kinds ?? []), ...(capabilities?.features ?? [])],
        replicas: told.map((replica) => routedReplica(replica, addresses, loadOf)),
      },
    ];
  });
}

function routedReplica(
  replica: Replica,
  ownAddresses: readonly string[],
  loadOf: (replica: ReadyReplica) => ReplicaLoad,
): RoutedReplica {
  const { peerId, peer, name, where } = replica;
  const ready = isReady(replica) ? replica : undefined;
  const { requests, slots } = ready === undefined ? { requests: 0, slots: undefined } : loadOf(ready);
  return {
    ...{ peerId, peer, model: name, state: ready === undefined ? 'loading' : 'ready', requests, slots },
    addresses: where === 'local' ? ownAddresses : replica.addresses,
  };
}
