// docs/ENGINES.md says what engines can do; here they say it themselves.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { LoadedModel } from '../../src/engine/engine.ts';
import { loadEmbedded } from '../support/embedded.ts';
import { loadLlamaServer, nativeSearch } from '../support/llama-server.ts';
import { toolTemplate, writeRetemplated } from '../support/retemplated.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const folder = await temporaryFolder();
const { programs } = await nativeSearch();
const features = [
  ...([
    'tools',
    'json-schema',
    'grammar',
    'logprobs',
    'choices',
    'token-ids',
    'token-prompts',
    'seed',
  ] as const),
  'continue' as const,
];

/** What the table says of an engine, by feature. */
async function tableOf(engine: string): Promise<Record<string, string>> {
  const text = await readFile(new URL('../../docs/ENGINES.md', import.meta.url), 'utf8');
  const rows = text
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .map((line) => line.split('|').map((cell) => cell.trim()));
  const column = rows[0]?.indexOf(engine) ?? -1;
  return Object.fromEntries(rows.map((row) => [row[1], row[column] ?? '']));
}

/** Whatever depends on the template must be there. */
async function expectTable(model: LoadedModel): Promise<void> {
  const table = await tableOf(model.engine);
  const said = features.map((feature) => [feature, table[feature] !== 'no']);
  const has = features.map((feature) => [feature, model.capabilities.features.has(feature)]);
  expect(Object.fromEntries(has)).toEqual(Object.fromEntries(said));
  expect(model.capabilities.kinds).toEqual(new Set(['chat', 'completion']));
  await model.unload();
}

describe('the table of engines', () => {
  it('is true of the embedded engine', async () => {
    await expectTable((await loadEmbedded('demo')).model);
  });

  it.skipIf(programs === undefined)('is true of llama-server, with a template that knows tools', async () => {
    const path = await writeRetemplated('demo', toolTemplate, join(folder, 'tools.gguf'));
    await expectTable((await loadLlamaServer('demo', { path })).model);
  });
});
