import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readChat } from '../../../src/api/openai/chat-reader.ts';
import { readCompletion } from '../../../src/api/openai/completion-reader.ts';
import { readEmbedding } from '../../../src/api/openai/embeddings.ts';
import { readRerank } from '../../../src/api/openai/rerank.ts';
import type { SurfaceReader } from '../../../src/api/surface.ts';
import type { ChatRequest, CompletionRequest, InferenceRequest } from '../../../src/inference/request.ts';
import { parseInferenceRequest } from '../../../src/inference/validate.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import type { JsonObject, JsonValue } from '../../../src/util/json.ts';

const context = { requestId: 'req_1' };
const user = { role: 'user', content: 'Hi' };

function chat(fields: JsonObject, more: { sessionId?: string } = {}): ChatRequest {
  const [request] = readChat(
    { model: 'demo', messages: [user], ...fields },
    { ...context, ...more },
  ).requests;
  if (request.kind !== 'chat') {
    throw new Error('not a chat');
  }
  return request;
}

function completions(fields: JsonObject): CompletionRequest[] {
  const { requests } = readCompletion({ model: 'demo', prompt: 'Hi', ...fields }, context);
  return requests.filter((request) => request.kind === 'completion');
}

function refusal(run: () => unknown): [string, string | undefined] {
  try {
    run();
  } catch (error) {
    if (error instanceof MeshnodeError) {
      return [error.code, error.details.param];
    }
    throw error;
  }
  throw new Error('was accepted');
}

const textPart = (text: string) => ({ type: 'text', text });

describe('the messages of a chat', () => {
  it('take text and parts, and developer for system', () => {
    const messages = [
      { role: 'developer', content: 'Be brief.' },
      { role: 'system', content: [textPart('Be kind.')], name: 'host' },
      { role: 'user', content: [textPart('a'), textPart('b')] },
    ];
    expect(chat({ messages }).messages).toEqual([
      { role: 'system', content: [textPart('Be brief.')] },
      { role: 'system', content: [textPart('Be kind.')], name: 'host' },
      { role: 'user', content: [textPart('a'), textPart('b')] },
    ]);
  });

  it('take an assistant that only called tools, and the results', () => {
    const call = { id: 'c1', type: 'function', function: { name: 'add', arguments: '{"a":1}' } };
    const messages = [
      user,
      { role: 'assistant', content: null, tool_calls: [call] },
      { role: 'tool', tool_call_id: 'c1', content: '2' },
      { role: 'assistant', content: 'Two.', tool_calls: [], reasoning_content: 'easy', refusal: null },
    ];
    expect(chat({ messages }).messages.slice(1)).toEqual([
      { role: 'assistant', content: [], toolCalls: [{ id: 'c1', name: 'add', arguments: '{"a":1}' }] },
      { role: 'tool', toolCallId: 'c1', content: [textPart('2')] },
      { role: 'assistant', content: [textPart('Two.')], reasoning: 'easy' },
    ]);
  });

  it('take the deprecated function calls', () => {
    const messages = [
      user,
      { role: 'assistant', content: null, function_call: { name: 'add', arguments: '{}' } },
      { role: 'function', name: 'add', content: '2' },
    ];
    expect(chat({ messages }).messages.slice(1)).toEqual([
      { role: 'assistant', content: [], toolCalls: [{ id: 'call_add', name: 'add', arguments: '{}' }] },
      { role: 'tool', toolCallId: 'call_add', content: [textPart('2')] },
    ]);
  });

  it('take images and recordings that travel with them', () => {
    const content = [
      { type: 'image_url', image_url: { url: 'data:image/png;base64,aGk=', detail: 'low' } },
      { type: 'image_url', image_url: 'data:image/JPEG;charset=x;base64,aGk=' },
      { type: 'input_audio', input_audio: { data: 'aGk=', format: 'mp3' } },
    ];
    expect(chat({ messages: [{ role: 'user', content }] }).messages[0]?.content).toEqual([
      { type: 'image', image: { mediaType: 'image/png', base64: 'aGk=' } },
      { type: 'image', image: { mediaType: 'image/jpeg', base64: 'aGk=' } },
      { type: 'audio', audio: { mediaType: 'audio/mpeg', base64: 'aGk=' } },
    ]);
  });

  it.each([
    [{ messages: [] }, 'invalid_request', 'messages'],
    [{ messages: 'Hi' }, 'invalid_request', 'messages'],
    [{ messages: null }, 'invalid_request', 'messages'],
    [{ messages: [{ role: 'robot', content: 'x' }] }, 'invalid_request', 'messages[0].role'],
    [{ messages: [user, { role: 'user', content: null }] }, 'invalid_request', 'messages[1].content'],
    [{ messages: [{ role: 'user', content: 3 }] }, 'invalid_request', 'messages[0].content'],
    [
      { messages: [{ role: 'user', content: [{ type: 'text' }] }] },
      'invalid_request',
      'messages[0].content[0].text',
    ],
    [
      { messages: [{ role: 'user', content: [{ type: 'file' }] }] },
      'unsupported_parameter',
      'messages[0].content[0].type',
    ],
    [{ messages: [{ role: 'tool', content: 'x' }] }, 'invalid_request', 'messages[0].tool_call_id'],
    [{ messages: [{ role: 'assistant', audio: { id: 'a' } }] }, 'unsupported_parameter', 'messages[0].audio'],
  ])('are refused: %j', (fields, code, param) => {
    expect(refusal(() => chat(fields as JsonObject))).toEqual([code, param]);
  });

  it.each([
    ['https://example.org/cat.png', 'unsupported_parameter'],
    ['file:///etc/passwd', 'unsupported_parameter'],
    ['data:text/html;base64,aGk=', 'invalid_request'],
    ['data:image/png,raw', 'invalid_request'],
    ['data:image/png;base64,not base64', 'invalid_request'],
    ['data:image/png;base64', 'invalid_request'],
  ])('never have an image fetched: %s', (url, code) => {
    const content = [textPart('see'), { type: 'image_url', image_url: { url } }];
    expect(refusal(() => chat({ messages: [{ role: 'user', content }] }))).toEqual([
      code,
      'messages[0].content[1].image_url.url',
    ]);
  });
});

describe('sampling and limits', () => {
  it('are all read', () => {
    const request = chat({
      temperature: 0.5,
      top_p: 0.9,
      top_k: 40,
      min_p: 0.05,
      seed: 7,
      frequency_penalty: 1,
      presence_penalty: -1,
      repeat_penalty: 1.1,
      logit_bias: { '15': -100, '2': 5 },
      max_tokens: 5,
      n: 2,
      stop: 'END',
      logprobs: true,
      top_logprobs: 3,
      parallel_tool_calls: false,
    });
    expect(request.sampling).toEqual({
      temperature: 0.5,
      topP: 0.9,
      topK: 40,
      minP: 0.05,
      seed: 7,
      frequencyPenalty: 1,
      presencePenalty: -1,
      repeatPenalty: 1.1,
      logitBias: [
        [2, 5],
        [15, -100],
      ],
    });
    expect(request.output).toEqual({
      maxTokens: 5,
      choices: 2,
      stop: ['END'],
      format: { type: 'text' },
      tools: [],
      toolChoice: { type: 'auto' },
      parallelToolCalls: false,
      topLogprobs: 3,
      echo: false,
    });
  });

  it('are absent when null', () => {
    const names = [
      'temperature',
      'max_tokens',
      'stop',
      'tools',
      'tool_choice',
      'response_format',
      'seed',
      'n',
    ];
    const nulls = Object.fromEntries(
      [...names, 'logit_bias', 'web_search_options'].map((name) => [name, null]),
    );
    expect(chat(nulls)).toEqual(chat({}));
  });

  it('prefer max_completion_tokens, and drop stop sequences that would end everything', () => {
    const { output } = chat({ max_tokens: 5, max_completion_tokens: 9, stop: ['', 'a'] });
    expect([output.maxTokens, output.stop]).toEqual([9, ['a']]);
  });

  it.each([
    [{ temperature: -1 }, 'temperature'],
    [{ temperature: '1' }, 'temperature'],
    [{ max_tokens: -1 }, 'max_tokens'],
    [{ n: 17 }, 'n'],
    [{ n: 1.5 }, 'n'],
    [{ stop: Array(65).fill('x') }, 'stop'],
    [{ stop: ['a', 1] }, 'stop[1]'],
    [{ top_logprobs: 2 }, 'top_logprobs'],
    [{ logprobs: true, top_logprobs: 21 }, 'top_logprobs'],
    [{ logit_bias: { a: 1 } }, 'logit_bias'],
    [{ logit_bias: { '1': 101 } }, 'logit_bias.1'],
    [{ logit_bias: [] }, 'logit_bias'],
    [{ stream: 'yes' }, 'stream'],
    [{ model: '' }, 'model'],
    [{ model: 'a\nb' }, 'model'],
    [{ model: 5 }, 'model'],
  ])('are bounded: %j', (fields, param) => {
    expect(refusal(() => chat(fields as JsonObject))).toEqual(['invalid_request', param]);
  });
});

describe('tools and formats', () => {
  const parameters = { type: 'object' };
  const tool = (name: string) => ({ type: 'function', function: { name, description: 'd', parameters } });

  it('are read from tools, and from the deprecated functions', () => {
    const expected = [{ name: 'add', description: 'd', parameters }];
    expect(chat({ tools: [tool('add')] }).output.tools).toEqual(expected);
    expect(chat({ functions: [tool('add').function] }).output.tools).toEqual(expected);
    expect(chat({ functions: [{ name: 'add' }], function_call: { name: 'add' } }).output.toolChoice).toEqual({
      type: 'function',
      name: 'add',
    });
  });

  it('can be chosen by name, by mode and from an allowed few', () => {
    const tools = [tool('add'), tool('mul')];
    const choose = (tool_choice: JsonValue) => chat({ tools, tool_choice }).output;
    expect(choose('required').toolChoice).toEqual({ type: 'required' });
    expect(choose({ type: 'function', function: { name: 'mul' } }).toolChoice).toEqual({
      type: 'function',
      name: 'mul',
    });
    const few = choose({ type: 'allowed_tools', allowed_tools: { mode: 'required', tools: [tool('mul')] } });
    expect([few.toolChoice, few.tools.map(({ name }) => name)]).toEqual([{ type: 'required' }, ['mul']]);
  });

  it('rule the answer by object, strict schema or grammar (point 20)', () => {
    const schema = { type: 'object', properties: { a: { type: 'number' } } };
    const formatOf = (fields: JsonObject) => chat(fields).output.format;
    expect(formatOf({ response_format: { type: 'text' } })).toEqual({ type: 'text' });
    expect(formatOf({ response_format: { type: 'json_object' } })).toEqual({ type: 'json' });
    expect(
      formatOf({
        response_format: { type: 'json_schema', json_schema: { name: 'sum', schema, strict: true } },
      }),
    ).toEqual({ type: 'schema', name: 'sum', schema, strict: true });
    expect(formatOf({ grammar: 'root ::= "a"' })).toEqual({ type: 'grammar', grammar: 'root ::= "a"' });
  });

  it.each([
    [{ tools: [tool('a'), tool('a')] }, 'invalid_request', 'tools'],
    [{ tools: [{ type: 'custom', custom: { name: 'x' } }] }, 'unsupported_parameter', 'tools[0].type'],
    [{ tools: [{ type: 'function' }] }, 'invalid_request', 'tools[0].function'],
    [{ tool_choice: 'required' }, 'invalid_request', 'tool_choice'],
    [{ tool_choice: 'sometimes' }, 'invalid_request', 'tool_choice'],
    [
      { tools: [tool('a')], tool_choice: { type: 'function', function: { name: 'b' } } },
      'invalid_request',
      'tool_choice',
    ],
    [{ tool_choice: { type: 'custom' } }, 'unsupported_parameter', 'tool_choice.type'],
    [{ response_format: { type: 'xml' } }, 'unsupported_parameter', 'response_format.type'],
    [{ response_format: { type: 'json_schema' } }, 'invalid_request', 'response_format.json_schema'],
    [
      { response_format: { type: 'json_schema', json_schema: { name: 'x' } } },
      'invalid_request',
      'response_format.json_schema.schema',
    ],
    [{ grammar: 'x', response_format: { type: 'json_object' } }, 'invalid_request', 'grammar'],
    [{ grammar: 'x', tools: [tool('a')] }, 'invalid_request', 'grammar'],
  ])('are refused: %j', (fields, code, param) => {
    expect(refusal(() => chat(fields as JsonObject))).toEqual([code, param]);
  });
});

describe('fields that no schema reads', () => {
  it('go to the engine, are accepted as hints, or are dropped by name', () => {
    const { requests, ignored } = readChat(
      {
        model: 'demo',
        messages: [user],
        typical_p: 0.9,
        dry_multiplier: 0.8,
        reasoning_effort: 'low',
        store: true,
        metadata: { a: 'b' },
        service_tier: 'auto',
        prompt_cache_retention: '24h',
        made_up: 1,
      },
      context,
    );
    expect(requests[0].extra).toEqual({ typical_p: 0.9, dry_multiplier: 0.8, reasoning_effort: 'low' });
    expect(ignored).toEqual(['made_up']);
  });

  it.each([
    'id_slot',
    'slot_id',
    'lora',
    'n_predict',
    'n_keep',
    'model_path',
    'return_progress',
    'timings_per_token',
    'response_fields',
    'chat_template',
    'ignore_eos',
  ])('are forbidden: %s', (name) => {
    expect(refusal(() => chat({ [name]: 1 }))).toEqual(['forbidden_parameter', name]);
    expect(refusal(() => completions({ [name]: -1 }))).toEqual(['forbidden_parameter', name]);
  });

  it.each(['audio', 'web_search_options', 'moderation', 'guided_json', 'json_schema'])(
    'are not dropped silently where that would change the answer: %s',
    (name) => {
      expect(refusal(() => chat({ [name]: {} }))).toEqual(['unsupported_parameter', name]);
    },
  );

  it('may carry values that ask for nothing', () => {
    expect(chat({ ignore_eos: false, return_progress: false, modalities: ['text'] })).toEqual(chat({}));
    expect(refusal(() => chat({ modalities: ['text', 'audio'] }))).toEqual([
      'unsupported_parameter',
      'modalities',
    ]);
  });
});

describe('the session key', () => {
  it('is the first hint that is there', () => {
    const hints = { prompt_cache_key: 'a', user: 'b', safety_identifier: 'c' };
    const keyOf = (fields: JsonObject) => chat(fields, { sessionId: 'd' }).sessionKey;
    expect(keyOf(hints)).toBe('a');
    expect(keyOf({ ...hints, prompt_cache_key: null })).toBe('b');
    expect(keyOf({ ...hints, prompt_cache_key: '', user: '' })).toBe('c');
    expect(keyOf({})).toBe('d');
    expect(chat({}).sessionKey).toBeUndefined();
  });

  it('never fails a request by its length', () => {
    expect(chat({ user: 'u'.repeat(10_000) }).sessionKey).toHaveLength(512);
  });
});

describe('completions, embeddings and rerank', () => {
  it('take all four forms of a prompt', () => {
    const promptsOf = (prompt: JsonValue) => completions({ prompt }).map((request) => request.prompt);
    expect(promptsOf('a')).toEqual(['a']);
    expect(promptsOf(['a', 'b'])).toEqual(['a', 'b']);
    expect(promptsOf([1, 2])).toEqual([[1, 2]]);
    expect(promptsOf([[1, 2], [3]])).toEqual([[1, 2], [3]]);
  });

  it.each([
    [{ prompt: [] }, 'invalid_request', 'prompt'],
    [{ prompt: [1, 'a'] }, 'invalid_request', 'prompt'],
    [{ prompt: ['a', -1] }, 'invalid_request', 'prompt[1]'],
    [{ prompt: { a: 1 } }, 'invalid_request', 'prompt'],
    [{ suffix: 'x' }, 'unsupported_parameter', 'suffix'],
    [{ best_of: 3 }, 'unsupported_parameter', 'best_of'],
    [{ logprobs: 21 }, 'invalid_request', 'logprobs'],
    [{ logprobs: true }, 'invalid_request', 'logprobs'],
  ])('refuse a completion with %j', (fields, code, param) => {
    expect(refusal(() => completions(fields as JsonObject))).toEqual([code, param]);
  });

  it('take the fields of completions', () => {
    const [request] = completions({ echo: true, logprobs: 2, best_of: 2, n: 2, suffix: '', max_tokens: 3 });
    expect(request?.output).toMatchObject({ echo: true, topLogprobs: 2, choices: 2, maxTokens: 3 });
  });

  it('take embedding inputs and dimensions', () => {
    const read = (fields: JsonObject) => readEmbedding({ model: 'demo', ...fields }, context).requests[0];
    expect(read({ input: ['a', 'b'], dimensions: 64 })).toMatchObject({ inputs: ['a', 'b'], dimensions: 64 });
    expect(refusal(() => read({ input: [] }))).toEqual(['invalid_request', 'input']);
    expect(refusal(() => read({ input: 'a', encoding_format: 'hex' }))).toEqual([
      'invalid_request',
      'encoding_format',
    ]);
  });

  it('take rerank documents as texts and as objects', () => {
    const body = { model: 'demo', query: 'q', documents: ['a', { text: 'b' }] };
    expect(readRerank(body, context).requests[0]).toMatchObject({ query: 'q', documents: ['a', 'b'] });
    expect(refusal(() => readRerank({ ...body, documents: [{ body: 'a' }] }, context))).toEqual([
      'invalid_request',
      'documents[0].text',
    ]);
  });
});

describe('a reader', () => {
  const readers: ReadonlyArray<readonly [string, SurfaceReader, JsonObject]> = [
    [
      'chat',
      readChat,
      { model: 'demo', messages: [user, { role: 'assistant', content: 'x', tool_calls: [] }] },
    ],
    ['completion', readCompletion, { model: 'demo', prompt: ['a', 'b'], logprobs: 1, echo: true }],
    ['embedding', readEmbedding, { model: 'demo', input: [[1, 2], [3]], dimensions: 4 }],
    ['rerank', readRerank, { model: 'demo', query: 'q', documents: ['a', { text: 'b' }], top_n: 1 }],
  ];
  const fieldNames = fc.constantFrom(
    'model',
    'messages',
    'prompt',
    'input',
    'documents',
    'query',
    'stop',
    'n',
    'tools',
    'tool_choice',
    'logprobs',
    'top_logprobs',
    'response_format',
    'grammar',
    'stream',
    'stream_options',
    'logit_bias',
    'user',
    'functions',
    'function_call',
    'max_tokens',
    'temperature',
    'id_slot',
    'typical_p',
    '__proto__',
    'constructor',
    'toString',
  );

  it.each(readers)('of %s fails with nothing but a 400, whatever it is sent', (_name, read, valid) => {
    const anything = fc.jsonValue({ maxDepth: 4 }) as fc.Arbitrary<JsonValue>;
    const mutated = fc
      .dictionary(fieldNames, anything, { maxKeys: 3 })
      .map((changes) => ({ ...valid, ...changes }) as JsonObject);
    fc.assert(
      fc.property(fc.oneof(anything, mutated), (body) => {
        let requests: readonly InferenceRequest[] = [];
        try {
          ({ requests } = read(body, context));
        } catch (error) {
          expect(error).toBeInstanceOf(MeshnodeError);
          expect((error as MeshnodeError).kind.status).toBe(400);
        }
        for (const request of requests) {
          expect(parseInferenceRequest(request)).toEqual(request);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('looks no further into hostile lists than it must', () => {
    const many = Array.from({ length: 2_000_000 }, () => ({}));
    const startMs = performance.now();
    expect(refusal(() => chat({ messages: many }))).toEqual(['invalid_request', 'messages']);
    expect(refusal(() => chat({ stop: many }))).toEqual(['invalid_request', 'stop']);
    expect(refusal(() => chat({ tools: many }))).toEqual(['invalid_request', 'tools']);
    expect(refusal(() => completions({ prompt: many }))).toEqual(['invalid_request', 'prompt']);
    expect(performance.now() - startMs).toBeLessThan(1_000);
  });
});
