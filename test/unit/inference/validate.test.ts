import { deepStrictEqual } from 'node:assert/strict';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ChatRequest, plainOutput } from '../../../src/inference/request.ts';
import { parseInferenceRequest } from '../../../src/inference/validate.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { requestLimits } from '../../../src/util/limits/inference.ts';
import { requests } from '../../support/inference-arbitraries.ts';

const chat: ChatRequest = {
  kind: 'chat',
  requestId: 'req-1',
  model: { name: 'demo' },
  priority: 'interactive',
  hops: 0,
  extra: {},
  messages: [{ role: 'user', content: [{ type: 'text', text: 'hello' }] }],
  sampling: {},
  output: plainOutput,
};
const { messages: _, ...envelopeOfChat } = chat;
const completion = { ...envelopeOfChat, kind: 'completion', prompt: 'once upon' };
const embedding = { ...envelopeOfChat, kind: 'embedding', inputs: ['a'] };
const transcription = {
  ...envelopeOfChat,
  kind: 'transcription',
  audio: { mediaType: 'audio/wav', base64: 'AAAA' },
};

const withOutput = (output: object) => ({ ...chat, output: { ...plainOutput, ...output } });
const withMessage = (message: object) => ({ ...chat, messages: [...chat.messages, message] });

/** The error that parsing `value` throws. */
function refusal(value: unknown): MeshnodeError {
  try {
    parseInferenceRequest(value);
  } catch (thrown) {
    if (thrown instanceof MeshnodeError) {
      return thrown;
    }
    throw thrown;
  }
  throw new Error('the request was taken');
}

describe('parseInferenceRequest', () => {
  it('takes every valid request as it is, after a passage through JSON', () => {
    fc.assert(
      fc.property(requests, (request) => {
        // Not `toStrictEqual`, which reads types from `constructor`: a client may send a field of that name.
        deepStrictEqual(parseInferenceRequest(JSON.parse(JSON.stringify(request))), request);
      }),
    );
  });

  it('throws nothing but invalid_request, naming a field, at a valid request with one value replaced', () => {
    fc.assert(
      fc.property(requests, fc.nat(), fc.jsonValue(), (request, place, value) => {
        const spoilt: Record<string, unknown> = { ...request };
        const keys = Object.keys(spoilt);
        const key = keys[place % keys.length] ?? 'kind';
        spoilt[key] = value;
        try {
          parseInferenceRequest(spoilt);
        } catch (thrown) {
          expect(thrown).toMatchObject({
            code: 'invalid_request',
            details: { param: expect.stringMatching(new RegExp(`^${key}`)) },
          });
        }
      }),
    );
  });

  it('throws nothing but invalid_request at any JSON value', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(refusal(value).code).toBe('invalid_request');
      }),
    );
  });

  it('leaves out fields it does not know, but keeps all of extra', () => {
    const extra = { mirostat: 2, deep: { list: [null] } };
    const parsed = parseInferenceRequest({ ...chat, extra, later: true, sampling: { later: 1, topK: 3 } });
    expect(parsed).toStrictEqual({ ...chat, extra, sampling: { topK: 3 } });
  });

  it.each<[string, unknown, string | undefined]>([
    ['no object', null, undefined],
    ['an unknown kind', { ...chat, kind: 'video' }, 'kind'],
    ['a request id with a line break', { ...chat, requestId: 'a\nb' }, 'requestId'],
    ['a model name with a line break', { ...chat, model: { name: 'a\r\nb' } }, 'model.name'],
    ['a digest in capitals', { ...chat, model: { name: 'a', digest: 'A'.repeat(64) } }, 'model.digest'],
    ['a third hop', { ...chat, hops: 3 }, 'hops'],
    ['half a millisecond', { ...chat, timeoutMs: 0.5 }, 'timeoutMs'],
    ['an undefined field', { ...chat, sessionKey: undefined }, 'sessionKey'],
    ['extra that is a list', { ...chat, extra: [] }, 'extra'],
    ['no messages', { ...chat, messages: [] }, 'messages'],
    ['an unknown role', withMessage({ role: 'robot', content: [] }), 'messages[1].role'],
    [
      'an image by address',
      withMessage({ role: 'user', content: [{ type: 'image', image: { url: 'http://x' } }] }),
      'messages[1].content[0].image.mediaType',
    ],
    [
      'an image that is none',
      withMessage({
        role: 'user',
        content: [{ type: 'image', image: { mediaType: 'text/html', base64: 'AAAA' } }],
      }),
      'messages[1].content[0].image.mediaType',
    ],
    ['a temperature below 0', { ...chat, sampling: { temperature: -0.1 } }, 'sampling.temperature'],
    [
      'a temperature that is no number',
      { ...chat, sampling: { temperature: Number.NaN } },
      'sampling.temperature',
    ],
    ['a top_p above 1', { ...chat, sampling: { topP: 1.01 } }, 'sampling.topP'],
    ['a penalty above 2', { ...chat, sampling: { presencePenalty: 2.1 } }, 'sampling.presencePenalty'],
    ['a seed that doubles cannot hold', { ...chat, sampling: { seed: 2 ** 53 } }, 'sampling.seed'],
    ['a bias above 100', { ...chat, sampling: { logitBias: [[1, 101]] } }, 'sampling.logitBias[0][1]'],
    ['a bias of no token', { ...chat, sampling: { logitBias: [[-1, 1]] } }, 'sampling.logitBias[0][0]'],
    ['no tokens at all', withOutput({ maxTokens: 0 }), 'output.maxTokens'],
    ['no choice', withOutput({ choices: 0 }), 'output.choices'],
    ['too many choices', withOutput({ choices: requestLimits.choices + 1 }), 'output.choices'],
    ['an empty stop', withOutput({ stop: ['a', ''] }), 'output.stop[1]'],
    ['too many stops', withOutput({ stop: new Array(requestLimits.stops + 1).fill('a') }), 'output.stop'],
    ['21 alternatives', withOutput({ topLogprobs: 21 }), 'output.topLogprobs'],
    [
      'no schema',
      withOutput({ format: { type: 'schema', name: 'a', strict: true } }),
      'output.format.schema',
    ],
    [
      'a schema above its bytes',
      withOutput({
        format: {
          type: 'schema',
          name: 'a',
          strict: true,
          schema: 'é'.repeat(requestLimits.schemaBytes / 2),
        },
      }),
      'output.format.schema',
    ],
    ['two tools of one name', withOutput({ tools: [{ name: 'f' }, { name: 'f' }] }), 'output.tools'],
    [
      'parameters that are no object',
      withOutput({ tools: [{ name: 'f', parameters: 'x' }] }),
      'output.tools[0].parameters',
    ],
    ['a required call of no tool', withOutput({ toolChoice: { type: 'required' } }), 'output.toolChoice'],
    [
      'a choice of a tool not offered',
      withOutput({ tools: [{ name: 'f' }], toolChoice: { type: 'function', name: 'g' } }),
      'output.toolChoice.name',
    ],
    [
      'a grammar beside tools',
      withOutput({ tools: [{ name: 'f' }], format: { type: 'grammar', grammar: 'root ::= "a"' } }),
      'output.format',
    ],
    ['a chat that echoes', withOutput({ echo: true }), 'output.echo'],
    [
      'a completion with tools',
      { ...completion, output: { ...plainOutput, tools: [{ name: 'f' }] } },
      'output.tools',
    ],
    ['a token id above 32 bits', { ...completion, prompt: [1, 2 ** 32] }, 'prompt'],
    ['a token id below 0', { ...completion, prompt: [-1] }, 'prompt'],
    ['a token id with a fraction', { ...embedding, inputs: ['a', [1.5]] }, 'inputs[1]'],
    ['no inputs', { ...embedding, inputs: [] }, 'inputs'],
    [
      'broken base64',
      { ...transcription, audio: { mediaType: 'audio/wav', base64: 'AA=A' } },
      'audio.base64',
    ],
  ])('refuses %s', (_name, value, param) => {
    const error = refusal(value);
    expect(error.code).toBe('invalid_request');
    expect(error.details.param).toBe(param);
    expect(error.message).toContain(param === undefined ? 'The request' : `\`${param}\``);
  });

  it('takes a JSON schema beside tools', () => {
    const both = withOutput({
      tools: [{ name: 'f' }],
      toolChoice: { type: 'function', name: 'f' },
      format: { type: 'schema', name: 'answer', schema: { type: 'object' }, strict: true },
    });
    expect(parseInferenceRequest(both)).toStrictEqual(both);
  });

  it('looks at one element of a list that is far too long, and keeps one issue of a list full of faults', () => {
    const faulty = new Array<number>(2_000_000).fill(0);
    expect(refusal({ ...chat, messages: faulty }).details.param).toBe('messages');
    const parts = new Array<number>(requestLimits.partsPerMessage).fill(0);
    const crowd = new Array<object>(requestLimits.messages).fill({ role: 'user', content: parts });
    expect(refusal({ ...chat, messages: crowd }).details.param).toBe('messages[0].content[0]');
  });

  it('takes an image of several megabytes', () => {
    const image = { mediaType: 'image/png', base64: Buffer.alloc(6 * 1024 * 1024).toString('base64') };
    const request = withMessage({ role: 'user', content: [{ type: 'image', image }] });
    expect(parseInferenceRequest(request)).toStrictEqual(request);
  });
});
