import { describe, expect, it } from 'vitest';
import { assertEnforceable } from '../../../../src/engine/llama-server/schema-check.ts';
import type { JsonValue } from '../../../../src/util/json.ts';
import { thrownBy } from '../../../support/thrown.ts';

describe('a JSON schema', () => {
  it.each<[string, JsonValue]>([
    [
      'the usual keywords',
      { type: 'object', properties: { a: { type: 'string', pattern: '^a$' } }, required: ['a'] },
    ],
    ['bounds of integers', { type: 'integer', minimum: 1, maximum: 9 }],
    [
      'alternatives and references',
      { anyOf: [{ $ref: '#/$defs/x' }, { enum: ['not', 'if'] }], $defs: { x: { const: 1 } } },
    ],
    [
      'properties that are called like keywords',
      { type: 'object', properties: { not: { type: 'null' }, if: true } },
    ],
    ['everything', true],
  ])('with %s is enforced', (_, schema) => {
    expect(() => assertEnforceable(schema)).not.toThrow();
  });

  it.each<[string, JsonValue]>([
    ["'not'", { not: { type: 'string' } }],
    ["'uniqueItems'", { type: 'object', properties: { a: { type: 'array', uniqueItems: true } } }],
    ["'multipleOf'", { anyOf: [{ type: 'null' }, { type: 'integer', multipleOf: 3 }] }],
    ["'minimum'", { type: 'number', minimum: 0.5 }],
    ["'maxProperties'", { $defs: { x: { type: 'object', maxProperties: 2 } } }],
    ["'contains'", { items: { items: { contains: {} } } }],
    ['leads out of it', { $ref: 'https://example.org/schema.json' }],
    ['more than', { enum: Array.from({ length: 10_000 }, (_, index) => index) }],
  ])('that the engine would not hold an answer to is refused: %s', (words, schema) => {
    expect(thrownBy(() => assertEnforceable(schema))).toMatchObject({
      code: 'invalid_schema',
      message: expect.stringContaining(words),
    });
  });
});
