// The in-process double keeps what engines promise, with everything declared and with nothing declared.
import { DoubleEngine, type DoubleEngineKnobs } from '../../support/double-engine.ts';
import { describeEngine, describeListEngine, type EngineUnderTest } from '../../support/engine-compliance.ts';

async function make(knobs: Partial<DoubleEngineKnobs>): Promise<EngineUnderTest> {
  const engine = new DoubleEngine(knobs);
  const model = await engine.load({ name: 'double', path: '' });
  return {
    model,
    expects: {
      endingPrompt: 'Answer briefly.',
      endlessPrompt: 'Tell me of the sea.',
      deterministic: true,
      slots: engine.knobs.slots,
      whenFull: engine.knobs.whenFull,
      reusesPrefix: true,
      countsTokens: true,
      tokenizesItsAnswers: true,
      normalisedVectors: true,
      ranksByRelevance: true,
    },
    crash: async () => model.crash(),
    close: () => model.unload(),
  };
}

describeEngine('the double', () => make({}));
describeEngine('the double with little declared and few slots', () =>
  make({
    features: new Set(),
    kinds: new Set(['chat', 'completion']),
    slots: 2,
    whenFull: 'refuse',
    tokensPerSecond: 2_000,
  }),
);
describeListEngine('the double that only embeds', () =>
  make({ features: new Set(), kinds: new Set(['embedding']) }),
);
