// The embedded engine, its processes and the demo models pass the suite that every engine passes.

import { loadEmbedded } from '../support/embedded.ts';
import { describeEngine, describeListEngine, type EngineUnderTest } from '../support/engine-compliance.ts';

async function make(name: string, parallel: number): Promise<EngineUnderTest> {
  const { model, pid } = await loadEmbedded(name, { parallel });
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

describeEngine('embedded with the dense demo model', () => make('demo', 4), { timeoutMs: 30_000 });
describeEngine('embedded with the mixture-of-experts demo model', () => make('demo-moe', 2), {
  timeoutMs: 30_000,
});
describeListEngine('embedded with the embedding demo model', () => make('demo-embed', 1), {
  timeoutMs: 30_000,
});
describeListEngine('embedded with the rerank demo model', () => make('demo-rerank', 1), {
  timeoutMs: 30_000,
});
