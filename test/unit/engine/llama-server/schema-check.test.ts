import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { assertEnforceable } from '../../../../src/engine/llama-server/schema-check.ts';
import type { JsonValue } from '../../../../src/util/json.ts';
import { schemas } from '../../../support/schema-arbitraries.ts';
import { enforcedSchemas, unbearableSchemas } from '../../../support/schema-samples.ts';
import { thrownBy } from '../../../support/thrown.ts';

// test/e2e/llama-server-schemas.test.ts holds the answers of the real server to each of these.
describe('a JSON schema', () => {
  it.each(Object.entries(enforcedSchemas))('is enforced: %s', (_, schema) => {
    expect(() => assertEnforceable(schema)).not.toThrow();
  });

  it.each(Object.entries(unbearableSchemas))(
    'that llama.cpp could not bear is refused: %s',
    (_, [schema, words]) => {
      expect(thrownBy(() => assertEnforceable(schema))).toMatchObject({
        code: 'invalid_schema',
        message: expect.stringContaining(words),
        details: { param: 'response_format' },
      });
    },
  );

  const a = { type: 'integer' };
  it.each<[string, JsonValue]>([
    ["'not'", { not: { type: 'string' } }],
    ["'uniqueItems'", { type: 'object', properties: { a: { type: 'array', uniqueItems: true } } }],
    ["'multipleOf'", { anyOf: [{ type: 'null' }, { type: 'integer', multipleOf: 3 }] }],
    ["'minimum'", { type: 'number', minimum: 0.5 }],
    ["'minimum'", { minimum: 0 }],
    ["'maxProperties'", { $ref: '#/$defs/x', $defs: { x: { type: 'object', maxProperties: 2 } } }],
    ["'contains'", { items: { items: { type: 'array', contains: {} } } }],
    ["'if'", { type: 'object', if: {}, else: {} }],
    ["'surprise'", { type: 'string', surprise: 1 }],
    ['leads to no object', { $ref: 'https://example.org/schema.json' }],
    ['leads to no object', { $ref: '#/components/a', components: { a } }],
    ['leads to no object', { $ref: '#/properties/a', properties: { a } }],
    ['leads to no object', { $ref: '#/$defs/missing', $defs: {} }],
    ['leads to no object', { $ref: '#/$defs/__proto__', $defs: {} }],
    [
      "'maxLength', which this engine cannot enforce beside $ref",
      { $ref: '#/$defs/x', maxLength: 1, $defs: { x: {} } },
    ],
    ["'anyOf' beside 'properties'", { properties: { a }, anyOf: [{ required: ['a'] }] }],
    [
      "'required', which this engine cannot enforce beside anyOf",
      { required: ['a'], anyOf: [{ type: 'object' }] },
    ],
    ["'oneOf' of which two may hold", { oneOf: [{ type: 'integer' }, { type: 'number' }] }],
    ["'oneOf' of which two may hold", { oneOf: [{ properties: {} }, { type: 'integer' }] }],
    ["'type' beside 'anyOf'", { type: 'object', anyOf: [{ type: 'object' }, { type: 'null' }] }],
    ["'minLength', which this engine cannot enforce beside enum", { enum: ['a'], minLength: 2 }],
    ['not of its type', { type: 'integer', enum: ['a'] }],
    ['not of its type', { type: ['integer', 'null'], const: 'a' }],
    ["'allOf' of something else", { allOf: [{ type: 'string' }, { minLength: 3 }] }],
    [
      "'allOf' of something else",
      {
        allOf: [{ type: 'object', properties: { a }, additionalProperties: false }, { properties: { b: a } }],
      },
    ],
    ["'allOf' of something else", { allOf: [{ properties: { a } }, { properties: { a } }] }],
    [
      "'allOf', which this engine cannot enforce",
      { type: 'object', properties: { a }, allOf: [{ required: ['z'] }] },
    ],
    ["'required' names", { type: 'object', properties: { a }, required: ['a', 'zz'] }],
    ["'required' names", { type: 'object', properties: { a }, required: 'a' }],
    ["'additionalProperties' beside 'properties'", { properties: { a }, additionalProperties: a }],
    ["'items'; 'prefixItems'", { items: [a, { type: 'string' }] }],
    ["'minItems' beside 'prefixItems'", { type: 'array', prefixItems: [a], minItems: 4 }],
    ["'maxItems' that is no whole number up to 600", { type: 'array', items: a, maxItems: 601 }],
    ["'maxLength' that is no whole number up to 2000", { type: 'string', maxLength: 2_001 }],
    ["'minLength' above", { type: 'string', minLength: 3, maxLength: 2 }],
    ["'maxLength' beside 'pattern'", { type: 'string', pattern: '^[a-z]*$', maxLength: 2 }],
    ["'minLength' beside 'format'", { type: 'string', format: 'date', minLength: 12 }],
    ["'format' beside 'pattern'", { type: 'string', format: 'date', pattern: '^1$' }],
    ['bounds that leave no number', { type: 'integer', minimum: 1.5, maximum: 1.9 }],
    ["'exclusiveMinimum' beside 'minimum'", { type: 'integer', minimum: 1, exclusiveMinimum: 4 }],
    ["'maximum' that is no number up to", { type: 'integer', maximum: 2 ** 60 }],
    ['unknown type', { type: 'float' }],
    [
      'takes it for its own',
      { type: 'object', properties: { decimal_part: { const: 'x' }, n: { type: 'number' } } },
    ],
    ['name is empty', { type: 'object', properties: { '': a } }],
    ['no schema', false],
    ['no schema', { type: 'object', properties: { a: false } }],
    ['more than', { enum: Array.from({ length: 10_000 }, (_, index) => index) }],
  ])('that the engine would not hold an answer to is refused: %s', (words, schema) => {
    expect(thrownBy(() => assertEnforceable(schema))).toMatchObject({
      code: 'invalid_schema',
      message: expect.stringContaining(words),
    });
  });

  it.each([
    ...[
      '[0-9]{3}',
      '^[0-9]{3}',
      '^\\d{3}$',
      '^\\w+$',
      '^(?=ab)ab$',
      '^(?!ab)cd$',
      '^\\bfoo\\b$',
      '^(?i)abc$',
      '^\\p{L}+$',
    ],
    ...[
      '^(?<x>ab)$',
      '^a\\/b$',
      '^.*$',
      '^[^@]+$',
      '^[A-z]$',
      '^"$',
      '^\\\\$',
      '^a\\n$',
      '^\\$',
      '^a^b$',
      '^a+?$',
      '^ab\\.?$',
    ],
    ...[
      '^aé*$',
      '^a{0,3000}$',
      '^[]$',
      '^(a))($',
      '^a{2}{3}$',
      '^[\\d]$',
      '^[\\x00-a]$',
      `^${'('.repeat(40)}a${')'.repeat(40)}$`,
    ],
  ])('with the pattern %s is refused', (pattern) => {
    expect(thrownBy(() => assertEnforceable({ type: 'string', pattern }))).toMatchObject({
      code: 'invalid_schema',
    });
  });

  it('is looked at in little time, whatever it is', () => {
    fc.assert(
      fc.property(schemas, (schema) => {
        const started = performance.now();
        try {
          assertEnforceable(schema);
        } catch (error) {
          expect(error).toMatchObject({ code: 'invalid_schema' });
        }
        expect(performance.now() - started).toBeLessThan(1_000);
      }),
      { numRuns: 300 },
    );
  });
});
