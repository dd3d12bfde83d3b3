// Every model that can be asked for from here, by the names that clients use, and who serves it. Pure: made anew
// when anything changes. An unknown model is never answered by another one: near matches are only named.
import { distance } from 'fastest-levenshtein';
import type { ModelTarget } from '../inference/request.ts';
import { type MeshModel, ModelNames } from '../mesh/model-names.ts';
import type { ModelStatus } from '../serving/model-status.ts';
import { MeshnodeError } from '../util/errors.ts';
import type { LocalReplica, Replica } from './replica.ts';

/** A model of the mesh as clients see it. */
export interface ListedModel extends Omit<ModelStatus, 'reference'> {
  /** Places where it is served or is on its way. */
  readonly replicas: number;
}

/** Most names given as near matches. */
const namedMatches = 3;
/** A name is near if at most this share of its letters differs: two swapped ones of four count as two. */
const nearShare = 0.5;

export class ModelDirectory {
  readonly #all: readonly Replica[];
  readonly #names: ModelNames<Replica>;
  readonly #listed: readonly ListedModel[];

  constructor(replicas: readonly Replica[]) {
    this.#all = replicas;
    this.#names = new ModelNames(replicas.filter(isUsable), isOwn);
    this.#listed = this.#names.list().map(listed);
  }

  /** Every model once, by name: failed ones are not there. */
  list(): readonly ListedModel[] {
    return this.#listed;
  }

  /** Every model once, with who serves it. */
  models(): readonly MeshModel<Replica>[] {
    return this.#names.list();
  }

  /**
   * The replicas that may answer, all of one digest; never none. Throws `model_not_found`, or `model_failed` if
   * every replica failed.
   */
  replicasOf(target: ModelTarget): readonly Replica[] {
    const exact = target.digest === undefined ? [] : [`${target.name}@${target.digest}`];
    const [model] = [...exact, target.name].flatMap((name) => this.#names.resolve(name) ?? []);
    const found = model?.replicas ?? [];
    const matching = found.filter((replica) => hasDigest(replica, target.digest));
    return matching.length > 0 ? matching : this.#none(target, found);
  }

  /**
   * The same for a request of a peer, which names a model as this node's record does: what is served here comes
   * first, by its own name. `mayForward`: if there is nothing here, another node may answer.
   */
  replicasForPeer(target: ModelTarget, mayForward: boolean): readonly Replica[] {
    const here = this.#all.filter(
      (replica): replica is LocalReplica => replica.where === 'local' && replica.name === target.name,
    );
    const matching = here.filter((replica) => isUsable(replica) && hasDigest(replica, target.digest));
    if (matching.length > 0) {
      return matching;
    }
    return mayForward ? this.replicasOf(target) : this.#none(target, here);
  }

  #none(target: ModelTarget, namesakes: readonly Replica[]): never {
    const failed = this.#all.find(
      (replica) => replica.where === 'local' && replica.name === target.name && !isUsable(replica),
    );
    if (failed !== undefined && hasDigest(failed, target.digest)) {
      throw failedModel(failed.status);
    }
    if (namesakes.some(isUsable)) {
      const message = `'${target.name}' is served, but not with these weights.`;
      throw new MeshnodeError('model_not_found', message, { param: 'model' });
    }
    throw notFound(
      target.name,
      this.#listed.map(({ name }) => name),
    );
  }
}

/** `model_not_found`, naming what is served under a name much like it. */
export function notFound(name: string, served: readonly string[]): MeshnodeError {
  const near = nearMatches(name, served);
  const suggestion =
    near.length === 0 ? '' : ` Did you mean ${near.map((other) => `'${other}'`).join(' or ')}?`;
  return new MeshnodeError('model_not_found', `No model called '${name}' is served.${suggestion}`, {
    param: 'model',
  });
}

/** Names much like `name`, the nearest first. */
export function nearMatches(name: string, names: readonly string[]): string[] {
  const wanted = name.toLowerCase();
  return [...new Set(names)]
    .map((candidate) => ({ candidate, far: unlikeness(wanted, candidate.toLowerCase()) }))
    .filter(({ far }) => far <= nearShare)
    .sort((one, other) => one.far - other.far)
    .slice(0, namedMatches)
    .map(({ candidate }) => candidate);
}

/** 0 for equal names, 1 for names with nothing in common. A name within the other counts as near. */
function unlikeness(wanted: string, candidate: string): number {
  if (wanted !== '' && (candidate.includes(wanted) || wanted.includes(candidate))) {
    return 0;
  }
  return distance(wanted, candidate) / Math.max(wanted.length, candidate.length);
}

/** A file whose digest is not known yet may be the one that others serve: until then it takes no name from them. */
function isOwn({ where, status }: Replica): boolean {
  return where === 'local' && status.digest !== 'pending';
}

function isUsable({ status }: Replica): boolean {
  return status.stage !== 'failed' && status.stage !== 'unloaded';
}

function hasDigest({ digest }: Replica, wanted: string | undefined): boolean {
  return wanted === undefined || digest === wanted;
}

/** As the replica that is furthest says, this node's own before others. */
function listed({ name, replicas }: MeshModel<Replica>): ListedModel {
  const order = (replica: Replica): number =>
    Number(replica.status.stage !== 'ready') * 2 + Number(replica.where === 'remote');
  const [best] = [...replicas].sort((one, other) => order(one) - order(other));
  const { reference: _reference, ...status } = best?.status ?? unknownStatus;
  return { ...status, name, replicas: replicas.length };
}

const unknownStatus: ModelStatus = { name: '', reference: '', stage: 'resolving', createdMs: 0 };

/** Names the cause by its code only: its message may hold a path of this machine, which is none of a client's business. */
function failedModel({ name, error }: ModelStatus): MeshnodeError {
  const cause = error === undefined ? '' : ` (${error.code})`;
  return new MeshnodeError('model_failed', `The model '${name}' could not be loaded${cause}.`, {
    ...(error === undefined ? {} : { hint: error.hint, cause: error }),
  });
}
