// What a request of the contract looks like to an OpenAI-speaking server.
import { describe, expect, test } from 'vitest';
import { embeddingCall, generationCall, rerankCall } from '../../../../src/engine/openai/request.ts';
import type { ChatMessage } from '../../../../src/inference/request.ts';
import {
  chatRequest,
  completionRequest,
  embeddingRequest,
  rerankRequest,
} from '../../../support/engine-answers.ts';

const text = (value: string) => [{ type: 'text', text: value }] as const;

describe('a plain chat', () => {
  test('is sent with nothing that was not asked for', () => {
    expect(generationCall(chatRequest('m', 'hi', { sampling: {} }))).toEqual({
      path: '/chat/completions',
      body: {
        model: 'm',
        stream: true,
        stream_options: { include_usage: true },
        messages: [{ role: 'user', content: 'hi' }],
      },
    });
  });

  test('carries sampling and limits under the names servers know', () => {
    const sampling = {
      temperature: 0.5,
      topP: 0.9,
      topK: 40,
      minP: 0.05,
      seed: 3,
      frequencyPenalty: 0.1,
      presencePenalty: 0.2,
      repeatPenalty: 1.1,
      logitBias: [[15, -100]] as const,
    };
    const { body } = generationCall(
      chatRequest('m', 'hi', { sampling, maxTokens: 9, stop: ['a'], choices: 2, topLogprobs: 3 }),
    );
    expect(body).toMatchObject({
      temperature: 0.5,
      top_p: 0.9,
      top_k: 40,
      min_p: 0.05,
      seed: 3,
      frequency_penalty: 0.1,
      presence_penalty: 0.2,
      repeat_penalty: 1.1,
      repetition_penalty: 1.1,
      logit_bias: { '15': -100 },
      max_tokens: 9,
      stop: ['a'],
      n: 2,
      logprobs: true,
      top_logprobs: 3,
    });
  });

  test('passes on harmless extra fields and no others, and never lets them replace ours', () => {
    const extra = {
      xtc_threshold: 0.1,
      chat_template_kwargs: { think: false },
      id_slot: 3,
      n_predict: -1,
      model: 'other',
      stream: false,
    };
    const { body } = generationCall(chatRequest('m', 'hi', { extra }));
    expect(body).toMatchObject({
      xtc_threshold: 0.1,
      chat_template_kwargs: { think: false },
      model: 'm',
      stream: true,
    });
    expect(body).not.toHaveProperty('id_slot');
    expect(body).not.toHaveProperty('n_predict');
  });

  test('carries tools, the choice among them and the calls made so far', () => {
    const tools = [{ name: 'look', description: 'Looks.', parameters: { type: 'object' }, strict: true }];
    const messages: ChatMessage[] = [
      { role: 'system', content: text('be good') },
      {
        role: 'assistant',
        content: [],
        reasoning: 'hm',
        toolCalls: [{ id: 'c1', name: 'look', arguments: '{}' }],
      },
      { role: 'tool', content: text('a tree'), toolCallId: 'c1' },
    ];
    const request = chatRequest('m', '', {
      tools,
      toolChoice: { type: 'function', name: 'look' },
      parallelToolCalls: false,
    });
    const { body } = generationCall({ ...request, messages });
    expect(body).toMatchObject({
      messages: [
        { role: 'system', content: 'be good' },
        {
          role: 'assistant',
          content: null,
          reasoning_content: 'hm',
          tool_calls: [{ id: 'c1', type: 'function', function: { name: 'look', arguments: '{}' } }],
        },
        { role: 'tool', content: 'a tree', tool_call_id: 'c1' },
      ],
      tools: [{ type: 'function', function: tools[0] }],
      tool_choice: { type: 'function', function: { name: 'look' } },
      parallel_tool_calls: false,
    });
  });

  test('carries pictures and recordings as data', () => {
    const request = chatRequest('m', '');
    const content = [
      ...text('what is this?'),
      { type: 'image', image: { mediaType: 'image/png', base64: 'AA==' } },
      { type: 'audio', audio: { mediaType: 'audio/mpeg', base64: 'BB==' } },
    ] as const;
    const { body } = generationCall({ ...request, messages: [{ role: 'user', content }] });
    expect(body['messages']).toEqual([
      {
        role: 'user',
        content: [
          { type: 'text', text: 'what is this?' },
          { type: 'image_url', image_url: { url: 'data:image/png;base64,AA==' } },
          { type: 'input_audio', input_audio: { data: 'BB==', format: 'mp3' } },
        ],
      },
    ]);
  });

  test.each([
    [{ type: 'json' } as const, { type: 'json_object' }],
    [
      { type: 'schema', name: 'n', schema: { type: 'object' }, strict: true } as const,
      { type: 'json_schema', json_schema: { name: 'n', schema: { type: 'object' }, strict: true } },
    ],
  ])('carries the format %j', (format, expected) => {
    expect(generationCall(chatRequest('m', 'hi', { format })).body['response_format']).toEqual(expected);
  });
});

describe('other requests', () => {
  test('a completion carries text or token ids, echo and logprobs', () => {
    const call = generationCall(completionRequest('m', [1, 2], { echo: true, topLogprobs: 2 }));
    expect(call).toMatchObject({ path: '/completions', body: { prompt: [1, 2], echo: true, logprobs: 2 } });
    expect(generationCall(completionRequest('m', 'abc')).body['prompt']).toBe('abc');
  });

  test('an embedding asks for plain numbers', () => {
    const request = { ...embeddingRequest('m', ['a', [1, 2]]), dimensions: 8 };
    expect(embeddingCall(request, request.inputs)).toEqual({
      path: '/embeddings',
      body: { model: 'm', input: ['a', [1, 2]], encoding_format: 'float', dimensions: 8 },
    });
  });

  test('a ranking asks for every document', () => {
    expect(rerankCall(rerankRequest('m', 'q', ['a', 'b']))).toEqual({
      path: '/rerank',
      body: { model: 'm', query: 'q', documents: ['a', 'b'], top_n: 2 },
    });
  });
});
