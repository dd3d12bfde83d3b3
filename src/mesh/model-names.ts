// What the models of the mesh are called in the API. Pure. Two files that share a name are two models: behind one
// answer of `resolve` stands one digest, or a single node whose digest nobody knows.
import type { PeerId } from '../trust/keys.ts';

/** A model on a node. */
export interface NamedReplica {
  readonly peerId: PeerId;
  /** The reference without path and extension. */
  readonly name: string;
  /** SHA-256 of the model's files, 64 lower-case hex digits; undefined while it is computed, and if it is attached. */
  readonly digest: string | undefined;
}

/** One model: any of its replicas may answer. */
export interface MeshModel<Replica extends NamedReplica = NamedReplica> {
  /** What it is listed as; no other model is. */
  readonly name: string;
  readonly digest: string | undefined;
  /** One per peer, by peer id. Exactly one if the digest is undefined. */
  readonly replicas: readonly Replica[];
}

/** A model before it has a name of its own. */
interface Candidate<Replica> {
  readonly digest: string | undefined;
  readonly replicas: readonly [Replica, ...Replica[]];
}

/** Hex digits that tell the digests of one name apart; more only if two of them begin alike. */
const tagDigits = 8;

export class ModelNames<Replica extends NamedReplica> {
  /** By the name they came with, the one that answers to it first. */
  readonly #namesakes: ReadonlyMap<string, readonly Candidate<Replica>[]>;
  readonly #models = new Map<Candidate<Replica>, MeshModel<Replica>>();

  /**
   * The names of everything that is served. The order of `replicas` makes no difference. A plain name means
   * what this node has itself (`isOwn`), whatever others say that they have.
   */
  constructor(replicas: readonly Replica[], isOwn: (replica: Replica) => boolean = () => false) {
    const byName = Map.groupBy(replicas, ({ name }) => name);
    this.#namesakes = new Map([...byName].map(([name, namesakes]) => [name, candidates(namesakes, isOwn)]));
    for (const [name, group] of this.#namesakes) {
      for (const candidate of group) {
        // A name that reads like a qualified one of another model is that model's.
        const isPlain = candidate === group[0] && this.#qualified(name) === undefined;
        const ownName = isPlain ? name : `${name}@${tagOf(candidate, group)}`;
        this.#models.set(candidate, { name: ownName, ...candidate });
      }
    }
  }

  /** Every model once, by name. */
  list(): MeshModel<Replica>[] {
    return [...this.#models.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /**
   * The model that answers to `name`: a plain name (what this node has, else the digest with most replicas), `name@`
   * and eight or more digits of a digest, or `name@` and a peer id for a model without one.
   */
  resolve(name: string): MeshModel<Replica> | undefined {
    const found = this.#qualified(name) ?? this.#namesakes.get(name)?.[0];
    return found === undefined ? undefined : this.#models.get(found);
  }

  #qualified(name: string): Candidate<Replica> | undefined {
    const at = name.lastIndexOf('@');
    const tag = name.slice(at + 1);
    const isDigits = /^[0-9a-f]{8,64}$/.test(tag);
    return this.#namesakes
      .get(name.slice(0, Math.max(0, at)))
      ?.find(({ digest, replicas: [first] }) =>
        digest === undefined ? first.peerId === tag : isDigits && digest.startsWith(tag),
      );
  }
}

/** The models among replicas of one name: this node's own, digests, the most served first, then nodes whose digest is unknown. */
function candidates<Replica extends NamedReplica>(
  namesakes: readonly Replica[],
  isOwn: (replica: Replica) => boolean,
): Candidate<Replica>[] {
  const unknown = onePerPeer(namesakes.filter(({ digest }) => digest === undefined));
  const known = Map.groupBy(namesakes, ({ digest }) => digest);
  const byDigest = [...known].flatMap(([digest, sameFile]) => {
    const [first, ...others] = onePerPeer(sameFile);
    return digest === undefined || first === undefined
      ? []
      : [{ digest, replicas: [first, ...others] as const }];
  });
  byDigest.sort((a, b) => b.replicas.length - a.replicas.length || (a.digest < b.digest ? -1 : 1));
  const alone = unknown.map((replica) => ({ digest: undefined, replicas: [replica] as const }));
  const rank = ({ replicas }: Candidate<Replica>): number => Number(!replicas.some(isOwn));
  return [...byDigest, ...alone].sort((a, b) => rank(a) - rank(b));
}

/** By peer id, without what a node lists twice. */
function onePerPeer<Replica extends NamedReplica>(replicas: readonly Replica[]): Replica[] {
  const byPeer = new Map(replicas.map((replica) => [replica.peerId, replica]));
  return [...byPeer.values()].sort((a, b) => (a.peerId < b.peerId ? -1 : 1));
}

/** What tells a model from its namesakes: the first digits of its digest, or its node if it has none. */
function tagOf(
  { digest, replicas: [first] }: Candidate<NamedReplica>,
  group: readonly Candidate<NamedReplica>[],
): string {
  if (digest === undefined) {
    return first.peerId;
  }
  const others = group.flatMap((other) => (other.digest === digest ? [] : (other.digest ?? [])));
  let digits = tagDigits;
  while (digits < digest.length && others.some((other) => other.startsWith(digest.slice(0, digits)))) {
    digits++;
  }
  return digest.slice(0, digits);
}
