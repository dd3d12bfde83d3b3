// llama-server, its processes and the demo models pass the suite that every engine passes: with the models' own
// template, and with one that knows tools.
import { join } from 'node:path';
import { describeEngine, describeListEngine, type EngineUnderTest } from '../support/engine-compliance.ts';
import { loadLlamaServer } from '../support/llama-server.ts';
import { toolTemplate, writeRetemplated } from '../support/retemplated.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const folder = await temporaryFolder();

async function make(name: string, parallel: number, path?: string): Promise<EngineUnderTest> {
  const { model, pid } = await loadLlamaServer(name, { parallel, ...(path === undefined ? {} : { path }) });
  return {
    model,
    expects: {
      endingPrompt: 'Say hello.',
      endlessPrompt: 'Count for ever.',
      endlessText: '1 2 3 4 5 6',
      deterministic: true,
      slots: model.capabilities.slots ?? 1,
      whenFull: 'queue',
      reusesPrefix: true,
      countsTokens: true,
      tokenizesItsAnswers: true,
      normalisedVectors: true,
      ranksByRelevance: true,
    },
    crash: async () => {
      process.kill(pid(), 'SIGKILL');
    },
    close: () => model.unload(),
  };
}

const patient = { timeoutMs: 30_000 };
describeEngine('llama-server with the dense demo model', () => make('demo', 4), patient);
describeEngine('llama-server with the mixture-of-experts demo model', () => make('demo-moe', 2), patient);
describeEngine(
  'llama-server with a template that knows tools',
  async () => make('demo', 4, await writeRetemplated('demo', toolTemplate, join(folder, 'tools.gguf'))),
  patient,
);
describeListEngine('llama-server with the embedding demo model', () => make('demo-embed', 1), patient);
describeListEngine('llama-server with the rerank demo model', () => make('demo-rerank', 1), patient);
