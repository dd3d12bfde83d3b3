// Which replicas may answer a request, in the order in which they are asked. Pure. An unknown model is
// never answered by another one: near matches are only named.
import { distance } from 'fastest-levenshtein';
import type { LoadedModel } from '../engine/engine.ts';
import type { ModelTarget } from '../inference/request.ts';
import type { ModelStatus } from '../serving/model-status.ts';
import type { ServedModel } from '../serving/serving.ts';
import { MeshnodeError } from '../util/errors.ts';

/** A place where a model is served, ready or on its way. */
export interface Replica extends ServedModel {
  /** The node that serves it. */
  readonly peer: string;
  readonly where: 'local' | 'remote';
}

export interface Candidates {
  /** Never empty. Those that are ready come first. */
  readonly replicas: readonly [Replica, ...Replica[]];
  /** One word for `x-meshnode-route`. */
  readonly reason: 'only' | 'first';
}

/** Most names given as near matches. */
const namedMatches = 3;
/** A name is near if at most this share of its letters differs: two swapped ones of four count as two. */
const nearShare = 0.5;

/** The candidates for a request. Throws `model_not_found`, or `model_failed` if every replica failed. */
export function candidatesFor(target: ModelTarget, served: readonly Replica[]): Candidates {
  const named = served.filter(({ status }) => status.name === target.name);
  const matching = named.filter(({ status }) => hasDigest(status, target.digest));
  const usable = matching.filter(({ status }) => status.stage !== 'failed');
  const [first, ...others] = [...usable.filter(isReady), ...usable.filter((replica) => !isReady(replica))];
  if (first !== undefined) {
    return { replicas: [first, ...others], reason: others.length === 0 ? 'only' : 'first' };
  }
  const [failed] = matching;
  throw failed === undefined ? notFound(target, named, served) : failedModel(failed.status);
}

export function isReady(replica: Replica): replica is Replica & { readonly model: LoadedModel } {
  return replica.status.stage === 'ready' && replica.model !== undefined;
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

function hasDigest(status: ModelStatus, digest: string | undefined): boolean {
  return digest === undefined || status.digest === digest;
}

function notFound(target: ModelTarget, named: readonly Replica[], served: readonly Replica[]): MeshnodeError {
  if (named.length > 0) {
    return new MeshnodeError('model_not_found', `'${target.name}' is served, but not with these weights.`, {
      param: 'model',
    });
  }
  const near = nearMatches(
    target.name,
    served.map(({ status }) => status.name),
  );
  const suggestion =
    near.length === 0 ? '' : ` Did you mean ${near.map((name) => `'${name}'`).join(' or ')}?`;
  return new MeshnodeError('model_not_found', `No model called '${target.name}' is served.${suggestion}`, {
    param: 'model',
  });
}

/** Names the cause by its code only: its message may hold a path of this machine, which is none of a client's business. */
function failedModel({ name, error }: ModelStatus): MeshnodeError {
  const cause = error === undefined ? '' : ` (${error.code})`;
  return new MeshnodeError('model_failed', `The model '${name}' could not be loaded${cause}.`, {
    ...(error === undefined ? {} : { hint: error.hint, cause: error }),
  });
}
