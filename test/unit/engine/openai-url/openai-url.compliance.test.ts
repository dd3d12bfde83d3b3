// The attached-server engine keeps what engines promise, against a server over real sockets.
import { attachOpenAiUrl } from '../../../../src/engine/openai-url/openai-url.ts';
import { silentLogger } from '../../../../src/util/logging.ts';
import { seededRandom } from '../../../../src/util/random.ts';
import { DoubleOpenAiServer, type DoubleServerKnobs } from '../../../support/double-openai-server.ts';
import { describeEngine, type EngineUnderTest } from '../../../support/engine-compliance.ts';
import { hurriedClock } from '../../../support/hurried-clock.ts';

async function make(knobs: Partial<DoubleServerKnobs>): Promise<EngineUnderTest> {
  const server = new DoubleOpenAiServer({ tokensPerSecond: 400, ...knobs });
  await server.start();
  const attached = await attachOpenAiUrl({
    url: server.url,
    clock: hurriedClock(20),
    random: seededRandom(1),
    log: silentLogger,
  });
  const [model] = attached.models();
  if (model === undefined) {
    throw new Error('the server lists no model');
  }
  return {
    model,
    expects: {
      endingPrompt: 'Answer briefly.',
      endlessPrompt: 'Tell me of the sea.',
      deterministic: true,
      slots: server.knobs.slots,
      whenFull: server.knobs.whenFull,
      reusesPrefix: true,
      countsTokens: true,
      normalisedVectors: true,
      ranksByRelevance: true,
    },
    async crash() {
      await server.stop();
      await server.start();
    },
    async close() {
      await attached.close();
      await server.stop();
    },
  };
}

describeEngine('openai-url', () => make({}));
describeEngine('openai-url at a server that refuses what it has no slot for', () =>
  make({ slots: 2, whenFull: 'refuse' }),
);
