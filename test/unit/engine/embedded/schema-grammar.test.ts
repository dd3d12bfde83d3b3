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

  it('takes the bounds that zod writes for any integer, and refuses those that mean something', () => {
    const integer = { type: 'integer', minimum: -9007199254740991, maximum: 9007199254740991 };
    expect(toGrammarSchema(integer)).toEqual({ type: 'integer' });
    expect(() => toGrammarSchema({ ...integer, maximum: 10 })).toThrow("'maximum'");
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

  it('is as quick for a schema that repeats its types at every level as for any other', () => {
    let schema: JsonValue = { type: 'string' };
    for (let level = 0; level < 60; level++) {
      schema = { type: ['object', 'object'], properties: { a: schema } };
    }
    expect(toGrammarSchema(schema)).toMatchObject({ oneOf: [{ type: 'object' }] });
  });

  it('refuses what would take the process long to build', () => {
    const many = Array.from({ length: 3000 }, (_, index) => `word ${index}`);
    expect(() => toGrammarSchema({ enum: many })).toThrow('2000');
    const wide = Object.fromEntries(many.map((name) => [name, { type: 'string' }]));
    expect(() => toGrammarSchema({ type: 'object', properties: wide })).toThrow('2000');
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
