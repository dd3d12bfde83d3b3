import { mkdir, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { GgufValue } from '../../../src/models/gguf.ts';
import { stringValue, uint32Value } from '../../../src/models/gguf-values.ts';
import { writeGguf } from '../../../src/models/gguf-writer.ts';
import { parseSplitName, readModelFiles, siblingPaths } from '../../../src/models/model-files.ts';
import { describeModel } from '../../../src/models/model-info.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

const folder = await temporaryFolder();
let models = 0;

interface Lies {
  readonly count?: number;
  readonly number?: number;
  readonly tensors?: number;
  readonly tensorName?: string;
}

/** Writes a model of three files, one tensor each; the second may lie. Gives the paths. */
async function writeSplitModel(lies: Lies = {}): Promise<[string, string, string]> {
  const place = join(folder, String(models++));
  await mkdir(place);
  const write = async (index: number, told: Lies): Promise<string> => {
    const path = join(place, `big-0000${index + 1}-of-00003.gguf`);
    const metadata = new Map<string, GgufValue>([
      ...(index === 0 ? ([['general.architecture', stringValue('llama')]] as const) : []),
      ['split.no', uint32Value(told.number ?? index)],
      ['split.count', uint32Value(told.count ?? 3)],
      ['split.tensors.count', uint32Value(told.tensors ?? 3)],
    ]);
    const name = told.tensorName ?? `tensor ${index}`;
    const tensors = [{ name, type: 'F32', dimensions: [8], data: () => new Uint8Array(32) }] as const;
    await writeGguf(path, { metadata, tensors });
    return path;
  };
  return [await write(0, {}), await write(1, lies), await write(2, {})];
}

describe('a model in several files', () => {
  it('is found whole from any one of them', async () => {
    const paths = await writeSplitModel();
    for (const path of paths) {
      const model = await readModelFiles(path);
      expect(model.files.map((file) => file.path)).toEqual(paths);
      expect(model.tensorCount).toBe(3);
      expect(model.sizeBytes).toBe(model.files.reduce((sum, file) => sum + file.fileSizeBytes, 0));
    }
  });

  it('is described as one', async () => {
    const [, second] = await writeSplitModel();
    const info = describeModel(await readModelFiles(second));
    expect(info).toMatchObject({ architecture: 'llama', parameterCount: 24, weightsBytes: 96 });
  });

  it('names the file that is missing', async () => {
    const [first, second] = await writeSplitModel();
    await rm(second);
    await expect(readModelFiles(first)).rejects.toMatchObject({
      code: 'model_file_missing',
      message: expect.stringContaining(basename(second)),
      details: { data: { path: second } },
    });
  });

  it.each<[string, Lies]>([
    ['metadata[split.count]', { count: 4 }],
    ['metadata[split.no]', { number: 2 }],
    ['metadata[split.tensors.count]', { tensors: 5 }],
    ['tensor[0].name', { tensorName: 'tensor 2' }],
  ])('is refused when %s is wrong', async (field, lies) => {
    const [first] = await writeSplitModel(lies);
    await expect(readModelFiles(first)).rejects.toMatchObject({
      code: 'gguf_invalid',
      message: expect.stringContaining(field),
    });
  });
});

describe('a model in one file', () => {
  it('is itself', async () => {
    const path = join(folder, 'single.gguf');
    await writeGguf(path, { metadata: new Map(), tensors: [] });
    const model = await readModelFiles(path);
    expect(model.files.map((file) => file.path)).toEqual([path]);
  });

  it('is refused when it says it has others', async () => {
    const path = join(folder, 'renamed.gguf');
    await writeGguf(path, { metadata: new Map([['split.count', uint32Value(2)]]), tensors: [] });
    await expect(readModelFiles(path)).rejects.toMatchObject({ code: 'gguf_invalid' });
  });
});

describe('names of split files', () => {
  it('tell place and number', () => {
    expect(parseSplitName('big-Q4-00002-of-00003.gguf')).toEqual({ prefix: 'big-Q4', number: 2, count: 3 });
  });

  it.each([
    'big.gguf',
    'big-00004-of-00003.gguf',
    'big-00000-of-00003.gguf',
    'big-2-of-3.gguf',
    'big-00001-of-99999.gguf',
    '-00001-of-00002.gguf.part',
  ])('leave %s alone', (name) => {
    expect(parseSplitName(name)).toBeUndefined();
    expect(siblingPaths(join('a', name))).toEqual([join('a', name)]);
  });
});
