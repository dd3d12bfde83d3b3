import { describe, expect, it } from 'vitest';
import { type FactsSource, localFacts } from '../../../src/node/local-facts.ts';
import type { ModelStatus } from '../../../src/serving/model-status.ts';

const status = (fields: Partial<ModelStatus>): ModelStatus => ({
  name: 'demo',
  reference: 'demo',
  stage: 'ready',
  createdMs: 0,
  ...fields,
});
const capabilities = {
  kinds: new Set(['completion', 'chat'] as const),
  contextTokens: 2048,
  slots: 4,
  features: new Set([]),
  extraFields: new Set([]),
};
const source = (models: readonly ModelStatus[]): FactsSource => ({
  name: 'attic',
  version: '1.0.0',
  hardware: undefined,
  bandwidthBytes: undefined,
  rpcBuild: '0.5.0+abc',
  models,
  demand: [{ model: 'demo', requests: 12.3456 }],
  served: [{ model: 'demo', origin: 'ada', requests: 2.7654 }],
});

describe('what a node says of itself', () => {
  it('is its name, version and addresses at least', () => {
    expect(localFacts(source([]), ['/ip4/192.0.2.1/tcp/1'], [])).toMatchObject({
      name: 'attic',
      version: '1.0.0',
      addresses: ['/ip4/192.0.2.1/tcp/1'],
      devices: [],
      models: [],
      rpcBuild: '0.5.0+abc',
    });
  });

  it('is what its users ask for, no more exactly than anybody needs', () => {
    expect(localFacts(source([]), [], []).demand).toEqual([{ model: 'demo', requests: 12 }]);
  });

  it('is what it answered for others and how far they are, no more exactly than anybody needs', () => {
    const neighbour = { peerId: 'ada', rttP50Ms: 1.23456, rttP95Ms: 98.765 };
    expect(localFacts(source([]), [], [neighbour])).toMatchObject({
      served: [{ model: 'demo', origin: 'ada', requests: 2.8 }],
      neighbours: [{ peerId: 'ada', rttP50Ms: 1.2, rttP95Ms: 99 }],
    });
  });

  it('is of a model what others choose by', () => {
    const digest = 'ab'.repeat(32);
    const { models } = localFacts(
      source([status({ digest, sizeBytes: 9, capabilities, engine: 'embedded' })]),
      [],
      [],
    );
    expect(models).toMatchObject([
      {
        name: 'demo',
        digest,
        state: 'ready',
        kind: 'chat',
        attached: false,
        contextTokens: 2048,
        slots: 4,
        sizeBytes: 9,
        abilities: ['completion', 'chat'],
      },
    ]);
  });

  it('leaves open the digest that is still computed, and says which models another server runs', () => {
    const models = [status({ digest: 'pending' }), status({ name: 'far', engine: 'openai-url' })];
    expect(localFacts(source(models), [], []).models).toMatchObject([
      { name: 'demo', digest: undefined, attached: false },
      { name: 'far', digest: undefined, attached: true },
    ]);
  });

  it('tells models that come, and not those that failed', () => {
    const models = (['resolving', 'downloading', 'loading', 'failed'] as const).map((stage) =>
      status({ name: stage, stage }),
    );
    expect(localFacts(source(models), [], []).models.map(({ name, state }) => [name, state])).toEqual([
      ['resolving', 'loading'],
      ['downloading', 'loading'],
      ['loading', 'loading'],
    ]);
  });
});
