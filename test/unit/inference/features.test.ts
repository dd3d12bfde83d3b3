import { describe, expect, it } from 'vitest';
import { type EngineFeature, requiredFeatures, unsupportedFeature } from '../../../src/inference/features.ts';
import { type InferenceKind, type InferenceRequest, plainOutput } from '../../../src/inference/request.ts';

const envelope = {
  requestId: 'r',
  model: { name: 'demo' },
  priority: 'interactive',
  hops: 0,
  extra: {},
} as const;
const plainChat = {
  ...envelope,
  kind: 'chat',
  messages: [{ role: 'user', content: [{ type: 'text', text: 'hi' }] }],
  sampling: {},
  output: plainOutput,
} as const satisfies InferenceRequest;
const media = { mediaType: 'x/y', base64: 'AAAA' };

const demanding: ReadonlyArray<[EngineFeature, string, InferenceRequest]> = [
  ['tools', 'tools', { ...plainChat, output: { ...plainOutput, tools: [{ name: 'f' }] } }],
  [
    'tools',
    'messages[0]',
    { ...plainChat, messages: [{ role: 'tool', toolCallId: 'c', content: [] }, ...plainChat.messages] },
  ],
  ['json-schema', 'response_format', { ...plainChat, output: { ...plainOutput, format: { type: 'json' } } }],
  [
    'json-schema',
    'response_format',
    {
      ...plainChat,
      output: { ...plainOutput, format: { type: 'schema', name: 's', schema: {}, strict: true } },
    },
  ],
  [
    'grammar',
    'grammar',
    { ...plainChat, output: { ...plainOutput, format: { type: 'grammar', grammar: 'root ::= "a"' } } },
  ],
  ['logprobs', 'logprobs', { ...plainChat, output: { ...plainOutput, topLogprobs: 0 } }],
  ['choices', 'n', { ...plainChat, output: { ...plainOutput, choices: 2 } }],
  ['seed', 'seed', { ...plainChat, sampling: { seed: 0 } }],
  [
    'images',
    'messages[1].content',
    {
      ...plainChat,
      messages: [...plainChat.messages, { role: 'user', content: [{ type: 'image', image: media }] }],
    },
  ],
  [
    'audio',
    'messages[0].content',
    { ...plainChat, messages: [{ role: 'user', content: [{ type: 'audio', audio: media }] }] },
  ],
  [
    'token-prompts',
    'prompt',
    { ...envelope, kind: 'completion', prompt: [1], sampling: {}, output: plainOutput },
  ],
  ['token-prompts', 'input', { ...envelope, kind: 'embedding', inputs: ['a', [1]] }],
];

const everyKind = new Set<InferenceKind>(['chat', 'completion', 'embedding', 'rerank', 'transcription']);

describe('unsupportedFeature', () => {
  it.each(demanding)('refuses a request that needs %s, by the field %s', (feature, param, request) => {
    expect([...requiredFeatures(request)]).toEqual([feature]);
    expect(unsupportedFeature(request, { kinds: everyKind, features: new Set() })).toMatchObject({
      code: 'unsupported_parameter',
      details: { param },
    });
    expect(unsupportedFeature(request, { kinds: everyKind, features: new Set([feature]) })).toBeUndefined();
  });

  it('asks nothing more of an engine for a plain request', () => {
    expect(requiredFeatures(plainChat).size).toBe(0);
    expect(unsupportedFeature(plainChat, { kinds: everyKind, features: new Set() })).toBeUndefined();
  });

  it('refuses a kind of request that the model does not answer', () => {
    const kinds = new Set<InferenceKind>(['embedding']);
    expect(unsupportedFeature(plainChat, { kinds, features: new Set() })).toMatchObject({
      code: 'model_unsupported',
      details: { param: 'model' },
    });
  });
});
