// The embedded engine as tests use it: one thread, demo models, and the id of its process at hand.
import { createEmbeddedEngine } from '../../src/engine/embedded/embedded.ts';
import type { LoadedModel, LoadOptions } from '../../src/engine/engine.ts';
import { systemClock } from '../../src/util/clock.ts';
import { silentLogger } from '../../src/util/logging.ts';
import { systemRandom } from '../../src/util/random.ts';
import { demoModelPath } from './demo-models.ts';

export interface LoadedEmbedded {
  readonly model: LoadedModel;
  /** The model's process now: another one after each crash. */
  pid(): number;
}

/** Loads a demo model. The caller unloads it. */
export async function loadEmbedded(name: string, options: LoadOptions = {}): Promise<LoadedEmbedded> {
  const pids: number[] = [];
  const registry = { add: (pid: number) => pids.push(pid), remove: () => {}, written: async () => {} };
  const engine = createEmbeddedEngine({
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
    registry,
  });
  const model = await engine.load({ name, path: demoModelPath(name) }, { threads: 1, ...options });
  return { model, pid: () => pids.at(-1) ?? Number.NaN };
}
