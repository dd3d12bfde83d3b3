// Compliance: stop sequences, JSON schemas and tools shape the output exactly.
import { describe, expect, test } from 'vitest';
import type { Tool } from '../../src/inference/request.ts';
import { parseJson } from '../../src/util/json.ts';
import { chatRequest, complete } from './engine-answers.ts';
import type { Suite } from './engine-compliance.ts';

/** Small enough that a model that only obeys the grammar soon ends. */
export const smallSchema = {
  type: 'object',
  properties: { ok: { type: 'boolean' }, size: { enum: ['small', 'large'] } },
  required: ['ok', 'size'],
  additionalProperties: false,
};

export const smallTool: Tool = {
  name: 'report_size',
  description: 'Reports a size.',
  parameters: smallSchema,
};

/** Tokens of the answer that stop sequences are taken from. */
const maxTokens = 40;

export function testConstraints(suite: Suite): void {
  describe('stops', () => {
    test('exactly before a stop sequence', async ({ skip }) => {
      const { model, expects } = suite.engine();
      skip(!expects.deterministic, 'not expected to be deterministic');
      const text = (await baseline(suite)).text();
      const stop = charactersAt(text, Math.floor(text.length / 2), 4);
      const answer = await complete(
        model,
        chatRequest(model.name, expects.endlessPrompt, { maxTokens, stop: [stop] }),
      );
      expect(answer.text()).toBe(text.slice(0, text.indexOf(stop)));
      expect(answer.finish()).toBe('stop');
    });

    test('before a stop sequence that spans deltas, with nothing of it leaked', async ({ skip }) => {
      const { model, expects } = suite.engine();
      skip(!expects.deterministic, 'not expected to be deterministic');
      const whole = await baseline(suite);
      const pieces = whole.textPieces();
      const boundary = pieces.slice(0, Math.ceil(pieces.length / 2)).join('').length;
      const text = whole.text();
      const stop = charactersAt(text, boundary - 2, 4);
      const answer = await complete(
        model,
        chatRequest(model.name, expects.endlessPrompt, { maxTokens, stop: [stop] }),
      );
      expect(answer.text()).toBe(text.slice(0, text.indexOf(stop)));
    });

    test('not for the beginning of a stop sequence that does not come', async ({ skip }) => {
      const { model, expects } = suite.engine();
      skip(!expects.deterministic, 'not expected to be deterministic');
      const text = (await baseline(suite)).text();
      const stop = [
        `${charactersAt(text, Math.floor(text.length / 3), 3)}~never~`,
        `${text.slice(-3)}~never~`,
      ];
      const answer = await complete(
        model,
        chatRequest(model.name, expects.endlessPrompt, { maxTokens, stop }),
      );
      expect(answer.text()).toBe(text);
      expect(answer.finish()).toBe('length');
    });
  });

  describe('constrains', () => {
    test('an answer to a JSON schema', async ({ skip }) => {
      const { model, expects } = suite.engine();
      skip(!model.capabilities.features.has('json-schema'), 'no JSON schemas declared');
      const format = { type: 'schema', name: 'report', schema: smallSchema, strict: true } as const;
      const answer = await complete(
        model,
        chatRequest(model.name, expects.endingPrompt, { format, maxTokens: 200 }),
      );
      const value = parseJson(answer.text(), 8);
      expect(value).toEqual({ ok: expect.any(Boolean), size: expect.stringMatching(/^(small|large)$/) });
    });

    test('a forced tool call: its id and name once, its arguments valid', async ({ skip }) => {
      const { model, expects } = suite.engine();
      skip(!model.capabilities.features.has('tools'), 'no tools declared');
      const answer = await complete(
        model,
        chatRequest(model.name, expects.endingPrompt, {
          tools: [smallTool],
          toolChoice: { type: 'required' },
          parallelToolCalls: false,
          maxTokens: 200,
        }),
      );
      const [head, ...rest] = answer.toolCalls();
      expect(head).toMatchObject({ call: 0, id: expect.stringMatching(/./), name: smallTool.name });
      expect(rest.every((piece) => piece.id === undefined && piece.name === undefined)).toBe(true);
      const json = answer
        .toolCalls()
        .map((piece) => piece.arguments ?? '')
        .join('');
      expect(parseJson(json, 8)).toHaveProperty('size');
      expect(answer.finish()).toBe('tool_calls');
    });
  });
}

async function baseline(suite: Suite) {
  const { model, expects } = suite.engine();
  return complete(model, chatRequest(model.name, expects.endlessPrompt, { maxTokens }));
}

/** `count` whole characters of the text around a UTF-16 offset. */
function charactersAt(text: string, offset: number, count: number): string {
  const before = Array.from(text.slice(0, offset)).length;
  const characters = Array.from(text)
    .slice(before, before + count)
    .join('');
  expect(characters.length, 'the answer must be long enough to take a stop sequence from').toBeGreaterThan(0);
  return characters;
}
