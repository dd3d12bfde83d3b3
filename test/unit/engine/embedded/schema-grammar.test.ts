import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { toGrammarSchema } from '../../../../src/engine/embedded/schema-grammar.ts';
import { MeshnodeError } from '../../../../src/util/errors.ts';
import type { JsonValue } from '../../../../src/util/json.ts';

describe('toGrammarSchema', () => {
  it('keeps what the grammar can say and drops what only describes', () => {
    const schema = {
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      title: 'Person',
      type: 'object',
      properties: {
        name: { type: 'string', description: 'full', maxLength: 20 },
        tags: { type: 'array', items: { type: 'string' } },
      },
      required: ['name'],
      additionalProperties: false,
    };
    expect(toGrammarSchema(schema)).toEqual({
      type: 'object',
      properties: {
        name: { type: 'string', maxLength: 20 },
        tags: { type: 'array', items: { type: 'string' } },
      },
      required: ['name'],
      additionalProperties: false,
    });
  });

  it('turns anyOf into alternatives', () => {
    expect(toGrammarSchema({ anyOf: [{ type: 'integer' }, { type: 'null' }] })).toEqual({
      oneOf: [{ type: 'integer' }, { type: 'null' }],
    });
  });

  it('splits a list of types, each with its own keywords', () => {
    expect(toGrammarSchema({ type: ['string', 'array'], minLength: 1, items: { type: 'number' } })).toEqual({
      oneOf: [
        { type: 'string', minLength: 1 },
        { type: 'array', items: { type: 'number' } },
      ],
    });
  });

  it('follows references into $defs and definitions', () => {
    expect(
      toGrammarSchema({ $ref: '#/definitions/node', definitions: { node: { type: 'string' } } }),
    ).toEqual({
      $ref: '#/$defs/node',
      $defs: { node: { type: 'string' } },
    });
  });

  it('demands a required property that has no schema of its own', () => {
    expect(toGrammarSchema({ type: 'object', required: ['x'] })).toMatchObject({
      properties: { x: { oneOf: expect.any(Array) } },
      required: ['x'],
    });
  });

  it.each([
    ['pattern', { type: 'string', pattern: 'a+' }],
    ['allOf', { allOf: [{ type: 'string' }] }],
    ['not', { not: { type: 'string' } }],
    ['minimum', { type: 'integer', minimum: 3 }],
    ['uniqueItems', { type: 'array', uniqueItems: true }],
    ['patternProperties', { type: 'object', patternProperties: {} }],
    ['if', { type: 'object', properties: { a: { if: {} } } }],
  ] as const)('refuses %s by name instead of ignoring it', (keyword, schema) => {
    expect(() => toGrammarSchema(schema as unknown as JsonValue)).toThrow(`'${keyword}'`);
  });

  it('refuses what is no schema, and a reference that leads elsewhere', () => {
    expect(() => toGrammarSchema([])).toThrow('must be an object');
    expect(() => toGrammarSchema({ $ref: 'https://example.org/x' })).toThrow('$ref');
    expect(() => toGrammarSchema({ type: 'colour' })).toThrow('unknown type');
    expect(() => toGrammarSchema({ anyOf: [] })).toThrow('empty anyOf');
  });

  it('takes any JSON without another failure than a refusal', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => {
        try {
          toGrammarSchema(value as JsonValue);
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(MeshnodeError);
          expect((thrown as MeshnodeError).code).toBe('invalid_schema');
        }
      }),
    );
  });
});
