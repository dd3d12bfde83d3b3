// Remembers which models were used and when, in one JSON file. Losing it costs a date in a listing and
// the paths of models outside the cache, nothing else.
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { downloadLimits } from '../util/limits/models.ts';
import { makeFolder } from '../util/make-folder.ts';
import { replaceFile } from '../util/replace-file.ts';

const usageSchema = z.object({
  /** Absolute path of the model's first file. */
  path: z.string(),
  lastUsedMs: z.number(),
});
const fileSchema = z.object({ models: z.array(usageSchema) });

export type ModelUsage = z.infer<typeof usageSchema>;

/** Last uses by path, most recent last. */
export class ModelUsages {
  readonly #file: string;
  #writing: Promise<void> = Promise.resolve();

  constructor(file: string) {
    this.#file = file;
  }

  /** Everything remembered; empty if there is no file or it cannot be understood. */
  async list(): Promise<ModelUsage[]> {
    try {
      return fileSchema.parse(JSON.parse(await readFile(this.#file, 'utf8'))).models;
    } catch {
      return [];
    }
  }

  /** Notes a use of the model whose first file is `path`. */
  async note(path: string, atMs: number): Promise<void> {
    await this.#change((models) => [
      ...models.filter((model) => model.path !== path),
      { path, lastUsedMs: atMs },
    ]);
  }

  async forget(path: string): Promise<void> {
    await this.#change((models) => models.filter((model) => model.path !== path));
  }

  /** Changes follow one another. */
  #change(change: (models: ModelUsage[]) => ModelUsage[]): Promise<void> {
    const write = async (): Promise<void> => {
      const models = change(await this.list()).slice(-downloadLimits.rememberedModels);
      await makeFolder(dirname(this.#file));
      await replaceFile(this.#file, JSON.stringify({ models }, undefined, 1));
    };
    const result = this.#writing.then(write);
    this.#writing = result.catch(() => {});
    return result;
  }
}
