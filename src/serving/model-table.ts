// The state of every model of this node as a pure state machine: (table, event, now) -> table. It
// owns names, stages and the estimate of when a model is ready; it loads nothing.
import type { Capabilities, EngineName } from '../engine/engine.ts';
import type { DownloadProgress } from '../models/download-progress.ts';
import type { MeshnodeError } from '../util/errors.ts';
import type { ModelStage, ModelStatus } from './model-status.ts';

/** Models by key. The key of a loaded model is its reference; attached models have keys of their own. */
export type ModelTable = ReadonlyMap<string, ModelEntry>;

export interface ModelEntry {
  readonly status: ModelStatus;
  /** The first fraction of the present stage, and when it was told: the basis of the estimate. */
  readonly measured?: { readonly fromMs: number; readonly fromFraction: number };
}

/** What can happen to a model. An event for a key that is not in the table, except `asked`, changes nothing. */
export type ModelEvent =
  | {
      readonly type: 'asked';
      readonly key: string;
      readonly name: string;
      readonly reference: string;
      /** Wall-clock milliseconds. */
      readonly createdMs: number;
    }
  /** Its files are on this machine. */
  | { readonly type: 'resolved'; readonly key: string; readonly sizeBytes: number }
  | ModelProgress
  | {
      readonly type: 'ready';
      readonly key: string;
      readonly engine: EngineName;
      readonly capabilities: Capabilities;
    }
  /** Its process died and another is being started. */
  | { readonly type: 'restarting'; readonly key: string; readonly error: MeshnodeError }
  | { readonly type: 'failed'; readonly key: string; readonly error: MeshnodeError }
  /** Absent: it cannot be computed. */
  | { readonly type: 'digest'; readonly key: string; readonly digest?: string }
  /** It is gone: nothing is remembered of it. */
  | { readonly type: 'unloaded'; readonly key: string };

export interface ModelProgress {
  readonly type: 'progress';
  readonly key: string;
  readonly stage: Exclude<ModelStage, 'ready' | 'failed' | 'unloaded'>;
  /** 0 to 1 within the stage, if known. */
  readonly fraction?: number;
  /** Seconds until the stage ends, where the source of the progress knows better than `fraction` tells. */
  readonly etaSeconds?: number;
}

export const emptyTable: ModelTable = new Map();

/** An estimate needs to see this much of the stage, or it would jump about. */
const estimateFromMs = 1_000;
const estimateFromFraction = 0.02;

/** The table after an event. `nowMs` is monotonic. The same table comes back if nothing changed. */
export function applyModelEvent(table: ModelTable, event: ModelEvent, nowMs: number): ModelTable {
  if (event.type === 'asked') {
    return withEntry(table, event.key, asked(table, event));
  }
  const entry = table.get(event.key);
  if (entry === undefined) {
    return table;
  }
  if (event.type === 'unloaded') {
    const rest = new Map(table);
    rest.delete(event.key);
    return rest;
  }
  return withEntry(table, event.key, advanced(entry, event, nowMs));
}

/** What a download tells: how much of its stage is done, and how long the rest takes. */
export function downloadEvent(key: string, progress: DownloadProgress): ModelProgress {
  const { stage, bytes, totalBytes, etaSeconds } = progress;
  return {
    type: 'progress',
    key,
    stage,
    ...(totalBytes > 0 ? { fraction: bytes / totalBytes } : {}),
    ...(etaSeconds === undefined ? {} : { etaSeconds: Math.ceil(etaSeconds) }),
  };
}

/** The last thing said of a model that goes. */
export function unloadedStatus(status: ModelStatus): ModelStatus {
  const { fraction: _fraction, etaSeconds: _etaSeconds, error: _error, ...kept } = status;
  return { ...kept, stage: 'unloaded' };
}

/** The entry clients mean by `name`. */
export function entryNamed(table: ModelTable, name: string): [key: string, entry: ModelEntry] | undefined {
  for (const keyed of table) {
    if (keyed[1].status.name === name) {
      return keyed;
    }
  }
  return undefined;
}

function asked(table: ModelTable, event: ModelEvent & { type: 'asked' }): ModelEntry {
  const { key, name, reference, createdMs } = event;
  return { status: { name: freeName(table, key, name), reference, stage: 'resolving', createdMs } };
}

function advanced(
  entry: ModelEntry,
  event: Exclude<ModelEvent, { type: 'asked' | 'unloaded' }>,
  nowMs: number,
): ModelEntry {
  const { status } = entry;
  switch (event.type) {
    case 'resolved':
      return { ...entry, status: { ...status, sizeBytes: event.sizeBytes } };
    case 'progress':
      return progressed(entry, event, nowMs);
    case 'ready': {
      const { engine, capabilities } = event;
      return inStage({ ...entry, status: { ...status, engine, capabilities } }, 'ready');
    }
    case 'restarting':
      return withError(inStage(entry, 'loading'), event.error);
    case 'failed':
      return withError(withoutPendingDigest(inStage(entry, 'failed')), event.error);
    case 'digest':
      return withDigest(entry, event.digest);
  }
}

/** The entry at the start of `stage`: what belonged to the former stage is forgotten. */
function inStage(entry: ModelEntry, stage: ModelStage): ModelEntry {
  const { fraction: _fraction, etaSeconds: _etaSeconds, error: _error, ...kept } = entry.status;
  return { status: { ...kept, stage } };
}

function withError(entry: ModelEntry, error: MeshnodeError): ModelEntry {
  return { ...entry, status: { ...entry.status, error } };
}

function withDigest(entry: ModelEntry, digest: string | undefined): ModelEntry {
  const { digest: _former, ...kept } = entry.status;
  return { ...entry, status: { ...kept, ...(digest === undefined ? {} : { digest }) } };
}

/** Nobody computes it any more. */
function withoutPendingDigest(entry: ModelEntry): ModelEntry {
  return entry.status.digest === 'pending' ? withDigest(entry, undefined) : entry;
}

function progressed(entry: ModelEntry, event: ModelProgress, nowMs: number): ModelEntry {
  const { stage, fraction } = event;
  // News of a load that was overtaken by its end.
  if (entry.status.stage === 'ready' || entry.status.stage === 'failed') {
    return entry;
  }
  const current = entry.status.stage === stage ? entry : inStage(entry, stage);
  if (fraction === undefined) {
    return current;
  }
  const measured = current.measured ?? { fromMs: nowMs, fromFraction: fraction };
  const etaSeconds =
    event.etaSeconds ??
    (stage === 'loading'
      ? estimateSeconds(nowMs - measured.fromMs, fraction - measured.fromFraction, 1 - fraction)
      : undefined);
  const { etaSeconds: _former, ...kept } = current.status;
  const status = { ...kept, fraction, ...(etaSeconds === undefined ? {} : { etaSeconds }) };
  return { status, measured };
}

/**
 * Seconds that the rest takes at the speed so far. Only the loading of weights is estimated: a download
 * brings its own, and the other stages are short. Unknown stays absent; a guess would be worse.
 */
function estimateSeconds(elapsedMs: number, gained: number, left: number): number | undefined {
  return elapsedMs < estimateFromMs || gained < estimateFromFraction
    ? undefined
    : Math.ceil((elapsedMs * left) / gained / 1000);
}

/** `name`, or `name@2`, `name@3`, ... if other entries have it: two models never share a name. */
function freeName(table: ModelTable, key: string, name: string): string {
  const taken = (candidate: string): boolean => {
    const holder = entryNamed(table, candidate);
    return holder !== undefined && holder[0] !== key;
  };
  let candidate = name;
  for (let number = 2; taken(candidate); number++) {
    candidate = `${name}@${number}`;
  }
  return candidate;
}

function withEntry(table: ModelTable, key: string, entry: ModelEntry): ModelTable {
  return table.get(key) === entry ? table : new Map(table).set(key, entry);
}
