// Answers of the chat route over a server that a test plays: what is cut, what has ended, what is counted.
import { describe, expect, it } from 'vitest';
import { chatAnswer } from '../../../../src/engine/llama-server/chat-answer.ts';
import type { ServerRun } from '../../../../src/engine/llama-server/server-run.ts';
import type { InferenceEvent } from '../../../../src/inference/events.ts';
import { seededRandom } from '../../../../src/util/random.ts';
import { chatRequest } from '../../../support/engine-answers.ts';

interface Played {
  readonly events: InferenceEvent[];
  /** Chunks that the answer took from the server. */
  readonly taken: number;
}

/** Plays chunks of a server, as many as are wanted. */
async function play(chunks: Iterable<object>, options: Parameters<typeof chatRequest>[2]): Promise<Played> {
  let taken = 0;
  async function* stream(): AsyncGenerator<Uint8Array> {
    for (const chunk of chunks) {
      taken++;
      yield Buffer.from(`data: ${JSON.stringify(chunk)}\n\n`);
    }
    yield Buffer.from('data: [DONE]\n\n');
  }
  const run = { client: { stream, apiKey: undefined } } as unknown as ServerRun;
  const request = chatRequest('m', 'hello', options);
  const { choices } = request.output;
  const answer = chatAnswer(request, {
    ...{ run, replica: 'r', contextTokens: 100, choices, firstChoice: 0, random: seededRandom(1) },
    ...{ signal: new AbortController().signal, onStep: () => {}, onSpeed: () => {} },
  });
  return { events: await Array.fromAsync(answer), taken };
}

const piece = (index: number, content: string, tokens = 1) => ({
  choices: [{ index, delta: { content }, finish_reason: null }],
  timings: { cache_n: 2, prompt_n: 3, predicted_n: tokens },
});
const end = (index: number, finish_reason = 'stop') => ({ choices: [{ index, delta: {}, finish_reason }] });

function* endless(index: number): Generator<object> {
  for (let tokens = 1; ; tokens++) {
    yield piece(index, 'x', tokens);
  }
}

const textOf = (events: readonly InferenceEvent[], index: number): string =>
  events.map((event) => (event.type === 'delta' && event.index === index ? (event.text ?? '') : '')).join('');

describe('the chat route', () => {
  it('is left as soon as what is not cut has ended', async () => {
    const chunks = function* (): Generator<object> {
      yield piece(0, 'one STOP', 4);
      yield piece(1, 'two', 3);
      yield end(1);
      yield* endless(0);
    };
    const { events, taken } = await play(chunks(), { choices: 2, stop: ['STOP'] });
    expect(taken).toBeLessThan(10);
    expect([textOf(events, 0), textOf(events, 1)]).toEqual(['one ', 'two']);
    expect(events.filter(({ type }) => type === 'finish')).toHaveLength(2);
    expect(events.at(-1)).toEqual({ type: 'usage', prompt: 5, cached: 2, completion: 7 });
  });

  it('gives what was held back of a choice that ended beside one that was cut', async () => {
    const chunks = [piece(0, 'a STOP'), piece(1, 'b ST'), end(1), ...[piece(0, 'x')]];
    const { events } = await play(chunks, { choices: 2, stop: ['STOP'] });
    expect(textOf(events, 1)).toBe('b ST');
  });

  it('is an error if it stops before a choice was cut or had ended', async () => {
    await expect(play([piece(0, 'a')], { stop: ['STOP'] })).rejects.toMatchObject({
      code: 'engine_protocol',
    });
  });
});
