// What of a request reaches llama-server, and what its `/completion` answers.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CompletionReader } from '../../../../src/engine/llama-server/completion-reader.ts';
import { CallText } from '../../../../src/engine/llama-server/forced-call.ts';
import { completionBody, isPlainChat } from '../../../../src/engine/llama-server/server-calls.ts';
import { chatRequest, completionRequest } from '../../../support/engine-answers.ts';
import { smallTool } from '../../../support/engine-compliance-constraints.ts';
import { thrownBy } from '../../../support/thrown.ts';

const whole = { choices: 1, firstChoice: 0, contextTokens: 4096 };

describe('the body of a completion', () => {
  it('holds nothing of `extra` that chooses slots, files, adapters or what is said back', () => {
    const dangerous = {
      id_slot: 0,
      lora: [{ id: 0, scale: 9 }],
      response_fields: ['prompt'],
      cache_prompt: false,
      n_cache_reuse: 1,
      n_keep: 4,
      n_discard: 4,
      t_max_predict_ms: 1,
      prompt: 'another',
      stream: false,
      return_tokens: false,
      n_predict: 99_999,
      ignore_eos: true,
      grammar_lazy: true,
      chat_parser: 'x',
      post_sampling_probs: true,
      backend_sampling: true,
    };
    const body = completionBody(
      completionRequest('m', 'mine', { extra: { ...dangerous, mirostat: 2 } }),
      'mine',
      whole,
    );
    expect(body).toEqual({
      ...{ prompt: 'mine', stream: true, return_tokens: true, return_progress: true, cache_prompt: true },
      ...{ n_cmpl: 1, temperature: 0, mirostat: 2 },
    });
  });

  it('refuses what would make the server reserve memory beyond its context', () => {
    for (const name of ['repeat_last_n', 'dry_penalty_last_n']) {
      const request = completionRequest('m', 'x', { extra: { [name]: 2_000_000_000 } });
      expect(thrownBy(() => completionBody(request, 'x', whole))).toMatchObject({
        code: 'invalid_request',
        details: { param: name },
      });
    }
    const breakers = completionRequest('m', 'x', {
      extra: { dry_sequence_breakers: Array.from({ length: 99 }, () => 'a') },
    });
    expect(thrownBy(() => completionBody(breakers, 'x', whole))).toMatchObject({ code: 'invalid_request' });
  });

  it('refuses a grammar that would overflow the stack of the server', () => {
    const grammar = `root ::= ${'('.repeat(500)}"a"${')'.repeat(500)}`;
    const request = completionRequest('m', 'x', { format: { type: 'grammar', grammar } });
    expect(thrownBy(() => completionBody(request, 'x', whole))).toMatchObject({ code: 'invalid_schema' });
  });

  it('has no stop sequences: they are found on our side', () => {
    expect(completionBody(completionRequest('m', 'x', { stop: ['a'] }), 'x', whole)).not.toHaveProperty(
      'stop',
    );
  });

  it('has another seed for each group of choices, and never the one that means any', () => {
    const request = completionRequest('m', 'x', { sampling: { seed: 2 ** 32 - 2 }, choices: 8 });
    const seeds = [0, 4].map(
      (firstChoice) => completionBody(request, 'x', { ...whole, firstChoice })['seed'],
    );
    expect(seeds).toEqual([2 ** 32 - 2, 3]);
  });
});

describe('a plain chat', () => {
  it('has no tools, no media, and a template that does not think', () => {
    expect(isPlainChat(chatRequest('m', 'hello'), { reasons: false })).toBe(true);
    expect(isPlainChat(chatRequest('m', 'hello'), { reasons: true })).toBe(false);
    expect(isPlainChat(chatRequest('m', 'hello', { tools: [smallTool] }), { reasons: false })).toBe(false);
    const image = { type: 'image', image: { mediaType: 'image/png', base64: 'AAAA' } } as const;
    const seeing = { ...chatRequest('m', 'x'), messages: [{ role: 'user', content: [image] } as const] };
    expect(isPlainChat(seeing, { reasons: false })).toBe(false);
  });
});

describe('a chunk of a completion', () => {
  const reader = () => new CompletionReader(2, { path: '/completion', apiKey: undefined });
  const piece = {
    index: 0,
    content: 'a',
    tokens: [7],
    stop: false,
    tokens_predicted: 1,
    tokens_evaluated: 5,
  };

  it('is a piece with its token', () => {
    expect(reader().read(piece)).toMatchObject({
      type: 'piece',
      index: 0,
      text: 'a',
      lastToken: 7,
      tokens: 1,
    });
  });

  it('tells how many tokens an incomplete character took', () => {
    const one = reader();
    one.read(piece);
    expect(one.read({ ...piece, content: '€', tokens: [9], tokens_predicted: 4 })).toMatchObject({
      tokens: 3,
      lastToken: 9,
    });
  });

  it('is how far the prompt is: its token is none', () => {
    const chunk = {
      ...piece,
      content: '',
      tokens: [0],
      prompt_progress: { total: 10, cache: 4, processed: 6, time_ms: 12 },
    };
    expect(reader().read(chunk)).toEqual({
      type: 'prompt',
      prompt: 10,
      cached: 4,
      processed: 6,
      elapsedMs: 12,
    });
  });

  it('is the end, with the reason', () => {
    const end = { ...piece, content: '', tokens: [], stop: true };
    expect(reader().read({ ...end, stop_type: 'limit' })).toMatchObject({ type: 'done', reason: 'length' });
    expect(reader().read({ ...end, stop_type: 'eos' })).toMatchObject({ type: 'done', reason: 'stop' });
  });

  it.each([
    ['no object', 'x'],
    ['a choice that was not asked for', { ...piece, index: 2 }],
    ['no text', { ...piece, content: null }],
    ['no token', { ...piece, tokens: [] }],
    ['a count that is none', { ...piece, tokens_predicted: -1 }],
  ])('is refused if it has %s', (_, chunk) => {
    expect(thrownBy(() => reader().read(chunk))).toMatchObject({ code: 'engine_protocol' });
  });

  it('is the error that it tells of', () => {
    const chunk = { error: { code: 400, message: 'too long', type: 'exceed_context_size_error' } };
    expect(thrownBy(() => reader().read(chunk))).toMatchObject({ code: 'context_length_exceeded' });
  });
});

describe('the text of a forced call', () => {
  /** What a client puts together from the pieces, given the text cut anywhere. */
  function assemble(pieces: readonly string[]): { name: string | undefined; args: string; pieces: number } {
    const call = new CallText('call_1');
    const deltas = [...pieces.flatMap((text) => call.add(text)), ...call.end()];
    expect(deltas.filter(({ id }) => id !== undefined)).toHaveLength(1);
    return {
      name: deltas.find(({ name }) => name !== undefined)?.name,
      args: deltas.map(({ arguments: text = '' }) => text).join(''),
      pieces: deltas.length,
    };
  }

  it('is name and arguments again, however it is cut and whatever they are', () => {
    fc.assert(
      fc.property(
        fc.string({ minLength: 1 }),
        fc.dictionary(fc.string(), fc.jsonValue()),
        fc.array(fc.nat(400)),
        fc.boolean(),
        (name, args, cuts, spaced) => {
          const text = JSON.stringify({ name, arguments: args }, undefined, spaced ? 2 : 0);
          const places = [...new Set([0, ...cuts.map((cut) => cut % text.length), text.length])].sort(
            (a, b) => a - b,
          );
          const result = assemble(places.slice(1).map((end, index) => text.slice(places[index], end)));
          expect(result.name).toBe(name);
          expect(JSON.parse(result.args)).toEqual(JSON.parse(JSON.stringify(args)));
        },
      ),
    );
  });

  it('gives the arguments as they come', () => {
    expect(assemble(['{"name": "f", "argu', 'ments": {"a": "b', 'c", "d"', ': 1}}']).pieces).toBeGreaterThan(
      3,
    );
  });
});
