// Models that cannot be loaded: damaged, lying, missing, too large, or of a kind the engine does not know.
// Each fails by itself with its reason; the node and its other models go on.
import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { pair, rawGguf, tensorEntry, text, typeId } from '../support/gguf-bytes.ts';
import { postChat, writeChatModel } from '../support/node-under-test.ts';
import { type JsonLine, type StartedNode, startNode } from '../support/started-process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const folder = await temporaryFolder();
let good: string;
beforeAll(async () => {
  good = await writeChatModel(folder);
});

const architecture = (name: string): Buffer => pair('general.architecture', typeId.string, text(name));

/** Files that fail, with the code of the failure and what its message must name. */
const badFiles: Array<{
  name: string;
  bytes: (whole: Buffer) => Buffer;
  code: string;
  names: string;
}> = [
  { name: 'empty', bytes: () => Buffer.alloc(0), code: 'gguf_invalid', names: 'header.magic' },
  { name: 'noise', bytes: () => randomBytes(5_000), code: 'gguf_invalid', names: 'header.magic' },
  {
    name: 'cut-in-the-head',
    bytes: (whole) => whole.subarray(0, 1_000),
    code: 'gguf_invalid',
    names: 'metadata[',
  },
  {
    name: 'cut-in-the-data',
    bytes: (whole) => whole.subarray(0, -4_096),
    code: 'gguf_invalid',
    names: 'tensor[',
  },
  {
    name: 'endless-metadata',
    bytes: () => rawGguf({ pairCount: 2n ** 63n - 1n }),
    code: 'gguf_invalid',
    names: 'header.metadata_count',
  },
  {
    name: 'endless-string',
    bytes: () => rawGguf({ pairs: [pair('general.name', typeId.string, text('short', 2n ** 40n))] }),
    code: 'gguf_invalid',
    names: 'metadata[general.name]',
  },
  {
    name: 'tensor-beyond-the-end',
    bytes: () =>
      rawGguf({
        pairs: [architecture('llama')],
        tensors: [tensorEntry({ offset: 2n ** 50n })],
        dataBytes: 32,
      }),
    code: 'gguf_invalid',
    names: 'tensor[0]',
  },
  {
    name: 'unknown-kind',
    bytes: () => rawGguf({ pairs: [architecture('nonsense')], tensors: [tensorEntry()], dataBytes: 32 }),
    code: 'model_failed',
    names: 'unknown-kind',
  },
];

describe('a node with bad models', () => {
  let node: StartedNode;
  beforeAll(async () => {
    const whole = await readFile(good);
    const flags: string[] = [];
    for (const { name, bytes } of badFiles) {
      await writeFile(join(folder, `${name}.gguf`), bytes(whole));
      flags.push('--model', join(folder, `${name}.gguf`));
    }
    flags.push('--model', join(folder, 'missing.gguf'), '--model', good);
    node = await startNode(['--threads', '1', ...flags]);
    await node.process.event('model', { model: 'tiny', state: 'ready' });
  });
  afterAll(() => node.stop('SIGKILL'));

  const failureOf = (name: string): Promise<JsonLine> =>
    node.process.event('model', { model: name, state: 'failed' });

  it.each(badFiles)('fails $name with $code', async ({ name, code, names }) => {
    const { error } = (await failureOf(name)) as { error?: { code: string; message: string; hint: string } };
    expect(error).toMatchObject({ code, hint: expect.stringMatching(/\S/) });
    expect(error?.message).toContain(names);
    expect(await node.process.event('error', { message: error?.message })).toMatchObject({ code });
  });

  it('fails a file that is not there, naming it', async () => {
    expect(await failureOf('missing')).toMatchObject({
      error: {
        code: 'model_file_missing',
        message: expect.stringContaining(join(folder, 'missing.gguf')),
      },
    });
  });

  it('serves the good one, and says what it is not ready for', async () => {
    await Promise.all(badFiles.map(({ name }) => failureOf(name)));
    expect((await postChat(node, { model: 'tiny', prompt: 'Hello' })).status).toBe(200);
    expect((await postChat(node, { model: 'noise', prompt: 'Hello' })).status).toBe(503);
    const ready = await fetch(`${node.origin}/readyz`);
    expect(ready.status).toBe(503);
    expect(await ready.json()).toMatchObject({ waiting_for: expect.arrayContaining(['noise has failed']) });
    expect(node.process.lines.filter(({ event }) => event === 'ready')).toEqual([]);
  });
});

it('a model that does not fit is refused with what it needs and what there is', async () => {
  const node = await startNode(['--model', good, '--threads', '1', '--max-vram', '64KiB']);
  onTestFinished(() => node.stop('SIGKILL'));
  const { error } = (await node.process.event('model', { model: 'tiny', state: 'failed' })) as {
    error?: { message: string };
  };
  expect(error).toMatchObject({ code: 'model_too_large', hint: expect.stringContaining('--max-vram') });
  expect(error?.message).toMatch(/needs [\d.]+ \w+ .* [\d.]+ \w+ can be used/);
  expect((await fetch(`${node.origin}/health`)).status).toBe(200);
});
