// Compliance: what an engine does not declare it refuses by name, before any work.
import { describe, expect, test } from 'vitest';
import type { EngineFeature } from '../../src/inference/features.ts';
import type { InferenceKind, InferenceRequest } from '../../src/inference/request.ts';
import {
  chatRequest,
  collect,
  completionRequest,
  embeddingRequest,
  greedy,
  rerankRequest,
} from './engine-answers.ts';
import type { Suite } from './engine-compliance.ts';
import { smallSchema, smallTool } from './engine-compliance-constraints.ts';

const media = { mediaType: 'image/png', base64: 'AAAA' };

/** For each feature that a request can need, the smallest request that does. */
const needing: ReadonlyArray<readonly [EngineFeature, (model: string) => InferenceRequest]> = [
  ['tools', (model) => chatRequest(model, 'hello', { tools: [smallTool] })],
  [
    'json-schema',
    (model) =>
      chatRequest(model, 'hello', {
        format: { type: 'schema', name: 'x', schema: smallSchema, strict: true },
      }),
  ],
  [
    'grammar',
    (model) => chatRequest(model, 'hello', { format: { type: 'grammar', grammar: 'root ::= "a"' } }),
  ],
  ['logprobs', (model) => chatRequest(model, 'hello', { topLogprobs: 1 })],
  ['choices', (model) => chatRequest(model, 'hello', { choices: 2 })],
  ['seed', (model) => chatRequest(model, 'hello', { sampling: { ...greedy, seed: 1 } })],
  ['token-prompts', (model) => completionRequest(model, [1, 2, 3])],
  [
    'images',
    (model) => ({
      ...chatRequest(model, 'hello'),
      messages: [{ role: 'user', content: [{ type: 'image', image: media }] }],
    }),
  ],
  [
    'audio',
    (model) => ({
      ...chatRequest(model, 'hello'),
      messages: [{ role: 'user', content: [{ type: 'audio', audio: media }] }],
    }),
  ],
];

const kinds: ReadonlyArray<readonly [InferenceKind, (model: string) => InferenceRequest]> = [
  ['chat', (model) => chatRequest(model, 'hello')],
  ['completion', (model) => completionRequest(model, 'hello')],
  ['embedding', (model) => embeddingRequest(model, ['hello'])],
  ['rerank', (model) => rerankRequest(model, 'hello', ['hello'])],
  ['transcription', (model) => ({ ...chatRequest(model, 'hello'), kind: 'transcription', audio: media })],
];

export function testRefusals(suite: Suite): void {
  describe('refuses by name', () => {
    test.for(needing)('%s, if not declared', async ([feature, request], { skip }) => {
      const { model } = suite.engine();
      skip(model.capabilities.features.has(feature), 'declared: it has tests of its own');
      const { error, events } = await collect(model, request(model.name));
      expect(error?.code).toMatch(/^(unsupported_parameter|model_unsupported)$/);
      expect(events).toHaveLength(1);
    });

    test.for(kinds)('%s requests, if not declared', async ([kind, request], { skip }) => {
      const { model } = suite.engine();
      skip(model.capabilities.kinds.has(kind), 'declared: it has tests of its own');
      const { error, events } = await collect(model, request(model.name));
      expect(error?.code).toBe('model_unsupported');
      expect(events).toHaveLength(1);
    });
  });
}
