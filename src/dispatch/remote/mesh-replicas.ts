// The replicas of other nodes, made from what the mesh knows: their records say what they serve, their beats how busy
// they are and whether they live.
import type { MemberView } from '../../mesh/membership.ts';
import type { MembershipNotice } from '../../mesh/membership-events.ts';
import type { Mesh } from '../../mesh/mesh.ts';
import type { RecordModel } from '../../mesh/record.ts';
import type { PeerId } from '../../trust/keys.ts';
import { Emitter } from '../../util/async.ts';
import { type RemoteReplica, type RemoteReplicas, remoteReplicaOf } from '../replica.ts';
import { PeerModel, type PeerModelComponents, type PeerNews } from './peer-model.ts';

export interface MeshReplicasComponents extends PeerModelComponents {
  readonly self: PeerId;
  readonly mesh: Pick<Mesh, 'members' | 'vitals'>;
}

interface Known {
  readonly model: PeerModel;
  /** When this node heard of it first, wall-clock milliseconds. */
  readonly createdMs: number;
}

export class MeshReplicas implements RemoteReplicas {
  readonly #components: MeshReplicasComponents;
  readonly #changes: Emitter<void>;
  readonly #stopListening: () => void;
  /** By peer and model: they outlive the records that name them. */
  #known = new Map<string, Known>();
  #replicas: readonly RemoteReplica[] | undefined;

  constructor(components: MeshReplicasComponents) {
    this.#components = components;
    this.#changes = new Emitter((err) => components.log.error({ err }, 'a listener of replicas failed'));
    this.#stopListening = components.onNotice((notice) => this.#hear(notice));
  }

  replicas(): readonly RemoteReplica[] {
    this.#replicas ??= this.#look();
    return this.#replicas;
  }

  onChange(listener: () => void): () => void {
    return this.#changes.listen(listener);
  }

  stop(): void {
    this.#stopListening();
  }

  #hear({ type }: MembershipNotice): void {
    if (type === 'changed') {
      this.#replicas = undefined;
      this.#changes.emit();
    }
  }

  #look(): RemoteReplica[] {
    const { mesh, self } = this.#components;
    const known = new Map<string, Known>();
    const replicas = mesh.members().flatMap((view) => {
      const isAsked = view.status === 'alive' && view.record.peerId !== self;
      return isAsked ? view.record.models.flatMap((model) => this.#replicaOf(view, model, known)) : [];
    });
    this.#known = known;
    return replicas;
  }

  #replicaOf(
    { record, isSilent }: MemberView,
    said: RecordModel,
    known: Map<string, Known>,
  ): RemoteReplica[] {
    const { peerId } = record;
    if (said.state === undefined) {
      return []; // Whatever a later version means by it, it is not said to be ready.
    }
    const key = `${peerId} ${said.name}`;
    const before = this.#known.get(key);
    const createdMs = before?.createdMs ?? this.#components.clock.wallMs();
    const facts = { name: said.name, abilities: abilitiesOf(said), slots: said.slots };
    const news = (): PeerNews => this.#newsOf(peerId, said.name);
    const model = before?.model.as(facts, news) ?? new PeerModel(peerId, facts, news, this.#components);
    known.set(key, { model, createdMs });
    return [
      remoteReplicaOf({
        ...{ peerId, peer: record.name, model, stage: said.state, createdMs, isHeard: !isSilent },
        ...{ digest: said.digest, sizeBytes: said.sizeBytes, contextTokens: said.contextTokens },
        addresses: record.addresses,
      }),
    ];
  }

  #newsOf(peer: PeerId, name: string): PeerNews {
    const vitals = this.#components.mesh.vitals(peer);
    const told = vitals?.load;
    const loaded = told?.loads.find(({ model }) => model === name);
    return {
      // What a beat does not name has nothing to do.
      load: told && {
        requests: (loaded?.inFlight ?? 0) + (loaded?.queued ?? 0),
        slots: loaded?.slots || undefined,
        atMs: told.atMs,
      },
      rttMs: vitals?.rtt?.p50Ms,
    };
  }
}

/** What a model can be asked for, by its record; of one that only says its kind, that. */
function abilitiesOf({ abilities, kind }: RecordModel): readonly string[] {
  return abilities.length > 0 || kind === undefined ? abilities : [kind];
}
