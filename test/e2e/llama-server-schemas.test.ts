// Schemas against the real llama-server: what is let through neither harms its process nor comes back broken, whatever
// the model would rather say. A hot model that only the grammar rules says nearly everything that the grammar allows.
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { assertEnforceable } from '../../src/engine/llama-server/schema-check.ts';
import { type JsonValue, parseJson } from '../../src/util/json.ts';
import { type CollectedAnswer, chatRequest, collect, completionRequest } from '../support/engine-answers.ts';
import { type LoadedLlamaServer, loadLlamaServer } from '../support/llama-server.ts';
import { toolTemplate, writeRetemplated } from '../support/retemplated.ts';
import { schemas } from '../support/schema-arbitraries.ts';
import { enforcedSchemas, unbearableSchemas } from '../support/schema-samples.ts';
import { fits } from '../support/schema-validator.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

/** Time for the server to begin an answer; a grammar within the bounds takes it 0.2 s. */
const beginMs = 2_000;

const folder = await temporaryFolder();
let server: LoadedLlamaServer;

beforeAll(async () => {
  const path = await writeRetemplated('demo', toolTemplate, join(folder, 'demo.gguf'));
  server = await loadLlamaServer('demo', { path, parallel: 2, contextTokens: 2048 });
});

afterAll(async () => {
  await server.model.unload();
});

async function answerTo(schema: JsonValue, seed: number): Promise<CollectedAnswer> {
  const format = { type: 'schema', name: 'answer', schema, strict: true } as const;
  const sampling = { temperature: 2, topK: 0, topP: 1, minP: 0, seed };
  const started = performance.now();
  let beganMs: number | undefined;
  const answer = await collect(
    server.model,
    completionRequest('demo', 'hi', { format, sampling, maxTokens: 200 }),
    {
      onEvent: ({ type }) => {
        beganMs ??= type === 'delta' ? performance.now() - started : undefined;
      },
    },
  );
  expect(beganMs ?? 0).toBeLessThan(beginMs);
  return answer;
}

/** Whether the answer was complete. Fails the test if it was, and breaks the schema. */
function assertFits(answer: CollectedAnswer, schema: JsonValue): boolean {
  expect(answer.error).toBeUndefined();
  const isComplete = answer.finish() === 'stop';
  if (isComplete) {
    const value = parseJson(answer.text(), 1_000);
    expect(fits(value, schema), `${answer.text()} for ${JSON.stringify(schema)}`).toBe(true);
  }
  return isComplete;
}

describe('llama-server', () => {
  test.each(Object.entries(enforcedSchemas))('holds answers to %s', async (_, schema) => {
    let complete = 0;
    for (let seed = 0; seed < 6; seed++) {
      complete += assertFits(await answerTo(schema, seed), schema) ? 1 : 0;
    }
    expect(complete, 'some answer has to be complete').toBeGreaterThan(0);
  });

  test.each(Object.entries(unbearableSchemas))('is not given %s', async (_, [schema]) => {
    const pid = server.pid();
    const { error } = await answerTo(schema, 0);
    expect(error).toMatchObject({ code: 'invalid_schema' });
    expect(server.pid()).toBe(pid);
  });

  test('calls a tool with arguments that fit, whose definitions lie in its parameters', async () => {
    const parameters = {
      type: 'object',
      properties: { sizes: { type: 'array', items: { $ref: '#/$defs/Size' }, maxItems: 3 } },
      required: ['sizes'],
      $defs: { Size: { enum: ['small', 'large'] } },
    };
    const answer = await collect(
      server.model,
      chatRequest('demo', 'hi', {
        tools: [{ name: 'report', parameters }],
        toolChoice: { type: 'required' },
        sampling: { temperature: 2, seed: 1 },
        maxTokens: 200,
      }),
    );
    expect(answer.error).toBeUndefined();
    expect(answer.finish()).toBe('tool_calls');
    const json = answer
      .toolCalls()
      .map((piece) => piece.arguments ?? '')
      .join('');
    expect(fits(parseJson(json, 8), parameters)).toBe(true);
  });

  test('holds answers to any schema that is let through, and lives', async () => {
    const pid = server.pid();
    await fc.assert(
      fc.asyncProperty(schemas, fc.nat(1_000_000), async (schema, seed) => {
        if (isLetThrough(schema)) {
          assertFits(await answerTo(schema, seed), schema);
        }
      }),
      { numRuns: 100, interruptAfterTimeLimit: 10_000 },
    );
    expect(server.pid()).toBe(pid);
  });
});

function isLetThrough(schema: JsonValue): boolean {
  try {
    assertEnforceable(schema);
    return true;
  } catch {
    return false;
  }
}
