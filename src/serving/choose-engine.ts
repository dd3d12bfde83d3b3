// Which engines may load a model here, and what becomes of a model that the first of them cannot serve.
import type { Engine, LoadedModel, LoadOptions, ModelFile } from '../engine/engine.ts';
import { asMeshnodeError, type ErrorCode, MeshnodeError } from '../util/errors.ts';
import type { Logger } from '../util/logging.ts';

/** At least one, the preferred one first. */
export type UsableEngines = readonly [first: Engine, ...others: Engine[]];

/** Those of the preferred order that can run on this machine. Rejects `engine_missing`, naming what each lacks, if none can. */
export async function usableEngines(engines: readonly Engine[]): Promise<UsableEngines> {
  const missing: string[] = [];
  const usable: Engine[] = [];
  let hint: string | undefined;
  for (const engine of engines) {
    const answer = await engine.available();
    if (answer.ok) {
      usable.push(engine);
    } else {
      missing.push(`${engine.name}: ${answer.reason}`);
      hint ??= answer.hint;
    }
  }
  const [first, ...others] = usable;
  if (first !== undefined) {
    return [first, ...others];
  }
  throw new MeshnodeError(
    'engine_missing',
    missing.length === 0
      ? 'No engine is configured that loads model files.'
      : `No engine can run here (${missing.join('; ')}).`,
    hint === undefined ? {} : { hint },
  );
}

/** What may be one engine's own fault: another one may do better. */
const faultsOfEngines: ReadonlySet<ErrorCode> = new Set([
  'engine_missing',
  'engine_unavailable',
  'engine_protocol',
  'engine_lost',
  'engine_timeout',
  'model_failed',
  'model_too_large',
]);

/** Loads with the first engine that can. Rejects with the failure of the first one. */
export async function loadWithFirst(
  [first, ...others]: UsableEngines,
  file: ModelFile,
  options: LoadOptions,
  log: Logger,
): Promise<LoadedModel> {
  try {
    return await first.load(file, options);
  } catch (thrown) {
    const failure = asMeshnodeError(thrown);
    options.signal?.throwIfAborted();
    if (!faultsOfEngines.has(failure.code)) {
      throw failure;
    }
    for (const engine of others) {
      log.warn(
        { model: file.name, engine: first.name, code: failure.code, message: failure.message },
        `${first.name} could not load the model; ${engine.name} is asked`,
      );
      const model = await engine.load(file, options).catch(() => undefined); // The first failure is the one to tell of.
      options.signal?.throwIfAborted();
      if (model !== undefined) {
        return model;
      }
    }
    throw failure;
  }
}
