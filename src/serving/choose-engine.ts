// Which engine loads a model: the first of the preferred order that can run on this machine.
import type { Engine } from '../engine/engine.ts';
import { MeshnodeError } from '../util/errors.ts';

/** Rejects with `engine_missing`, naming what each engine lacks, if none can run. */
export async function chooseEngine(engines: readonly Engine[]): Promise<Engine> {
  const missing: string[] = [];
  let hint: string | undefined;
  for (const engine of engines) {
    const answer = await engine.available();
    if (answer.ok) {
      return engine;
    }
    missing.push(`${engine.name}: ${answer.reason}`);
    hint ??= answer.hint;
  }
  throw new MeshnodeError(
    'engine_missing',
    missing.length === 0
      ? 'No engine is configured that loads model files.'
      : `No engine can run here (${missing.join('; ')}).`,
    hint === undefined ? {} : { hint },
  );
}
