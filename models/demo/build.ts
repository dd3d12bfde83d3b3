// Regenerates the demo models that are made rather than trained, byte for byte:
//   node models/demo/build.ts
// A test compares what this writes with the files that are kept here.
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type SyntheticKind, writeSyntheticModel } from '../../src/models/synthetic.ts';

/** The models by file name. Of the first seeds tried, 6 tells related texts from unrelated ones best. */
const demoModels: ReadonlyArray<{ file: string; kind: SyntheticKind; seed: number }> = [
  { file: 'demo-embed.gguf', kind: 'embedding', seed: 6 },
  { file: 'demo-rerank.gguf', kind: 'rerank', seed: 6 },
];

/** Writes the models into a folder and gives their file names. */
export async function buildDemoModels(folder: string): Promise<string[]> {
  for (const { file, kind, seed } of demoModels) {
    await writeSyntheticModel(join(folder, file), kind, seed);
  }
  return demoModels.map(({ file }) => file);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const files = await buildDemoModels(import.meta.dirname);
  process.stdout.write(`${files.join('\n')}\n`);
}
