// JSON schemas that llama-server has to hold answers to, and those that ended, filled or stopped it.
import type { JsonValue } from '../../src/util/json.ts';

const text = { type: 'string' };

/** Each has answers that are soon complete. */
export const enforcedSchemas: Record<string, JsonValue> = {
  'the usual keywords': {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'Report',
    type: 'object',
    properties: {
      a: { type: 'string', pattern: '^a$', description: 'words' },
      b: { type: 'boolean', default: true },
    },
    required: ['a'],
    additionalProperties: false,
  },
  'bounds of integers': { type: 'integer', minimum: 1, maximum: 9 },
  'a lowest integer alone, which llama.cpp gets wrong': { type: 'integer', minimum: 1050 },
  'a highest integer alone, which llama.cpp gets wrong': { type: 'integer', exclusiveMaximum: -4.5 },
  'all safe integers': {
    type: 'integer',
    minimum: Number.MIN_SAFE_INTEGER,
    maximum: Number.MAX_SAFE_INTEGER,
  },
  'alternatives and references': {
    anyOf: [{ $ref: '#/$defs/x' }, { enum: ['not', 'if'] }],
    $defs: { x: { const: 1 } },
  },
  'definitions whose rules would have one name': {
    $defs: {
      a: { type: 'object', properties: { b: { const: 1 } }, required: ['b'] },
      'a-b': { const: 'text' },
    },
    type: 'object',
    properties: { x: { $ref: '#/$defs/a' }, y: { $ref: '#/$defs/a-b' } },
    required: ['x', 'y'],
  },
  'definitions by their older name': { $ref: '#/definitions/x', definitions: { x: { type: 'boolean' } } },
  'a reference to itself': {
    type: 'object',
    properties: { next: { anyOf: [{ $ref: '#' }, { type: 'null' }] } },
    required: ['next'],
  },
  'a tree': {
    $ref: '#/$defs/node',
    $defs: {
      node: {
        type: 'object',
        properties: { children: { type: 'array', items: { $ref: '#/$defs/node' }, maxItems: 2 } },
        required: ['children'],
      },
    },
  },
  'alternatives that a tag tells apart, and that nest': {
    $ref: '#/$defs/e',
    $defs: {
      e: {
        oneOf: [
          {
            type: 'object',
            properties: { kind: { const: 'not' }, of: { $ref: '#/$defs/e' } },
            required: ['kind', 'of'],
          },
          {
            type: 'object',
            properties: { kind: { const: 'is' }, of: { type: 'boolean' } },
            required: ['kind', 'of'],
          },
        ],
        discriminator: { propertyName: 'kind' },
      },
    },
  },
  'properties that are called like keywords': {
    type: 'object',
    properties: {
      not: { type: 'null' },
      if: true,
      space: { const: 1 },
      string: { const: 2 },
      root: { const: 3 },
    },
    required: ['not', 'space', 'string', 'root'],
  },
  'properties with signs in their names': {
    type: 'object',
    properties: { 'quo"te': { const: 1 }, 'ä€': { const: 2 }, 'a\nb': { const: 3 } },
    required: ['quo"te', 'ä€', 'a\nb'],
  },
  'further properties': { type: 'object', additionalProperties: { type: 'boolean' } },
  'a permission for further properties': {
    type: 'object',
    properties: { a: { const: 1 } },
    required: ['a'],
    additionalProperties: true,
  },
  'lists of types': { type: ['integer', 'null', 'string'], maxLength: 3, minimum: 5, maximum: 90 },
  'values with a list of types': { type: ['string', 'null'], enum: ['a', null] },
  'values with signs': { enum: ['a\nb', 'quo"te', '\\', 'ü€😀', [1, { a: null }], { a: 1 }] },
  lengths: { type: 'string', minLength: 2, maxLength: 5 },
  formats: {
    type: 'object',
    properties: {
      day: { ...text, format: 'date' },
      at: { ...text, format: 'date-time' },
      id: { ...text, format: 'uuid' },
    },
    required: ['day', 'at', 'id'],
  },
  'a format that only annotates': { type: 'string', format: 'email', maxLength: 9 },
  'a pattern of groups and numbers': { type: 'string', pattern: '^(?:[a-f0-9]{2}-){2}(x|yz)?\\.$' },
  'a pattern of alternatives without a bracket': { type: 'string', pattern: '^a|b$' },
  'lists with bounds': {
    type: 'array',
    items: { type: 'integer', minimum: 0, maximum: 3 },
    minItems: 2,
    maxItems: 3,
  },
  tuples: {
    type: 'array',
    prefixItems: [{ const: 'a' }, { type: 'boolean' }],
    items: false,
    minItems: 2,
    maxItems: 2,
  },
  'allOf of objects': {
    allOf: [
      { $ref: '#/$defs/a' },
      { type: 'object', properties: { b: { type: 'boolean' } }, required: ['b'] },
    ],
    $defs: { a: { type: 'object', properties: { a: { type: 'null' } } } },
  },
  'allOf of one': { allOf: [{ $ref: '#/$defs/a' }], default: 'x', $defs: { a: { enum: ['x', 'y'] } } },
  'a type beside alternatives that have it': {
    type: 'object',
    anyOf: [{ type: 'object', properties: { a: { const: 1 } } }],
  },
  'keywords that speak of other types': { type: 'boolean', minLength: 3, maximum: 2, required: ['a'] },
  'a note of its own': { type: 'boolean', 'x-note': 'words' },
  'a definition that nobody refers to': { type: 'boolean', $defs: { x: { type: 'number', multipleOf: 3 } } },
};

const chain = (count: number, link: (next: string) => JsonValue): JsonValue => ({
  $ref: '#/$defs/d0',
  $defs: Object.fromEntries(
    Array.from({ length: count }, (_, index) => [
      `d${index}`,
      index + 1 < count ? link(`#/$defs/d${index + 1}`) : { const: 1 },
    ]),
  ),
});

const properties = (count: number, schema: JsonValue): JsonValue => {
  const named = Object.fromEntries(Array.from({ length: count }, (_, index) => [`p${index}`, schema]));
  return { type: 'object', properties: named, required: Object.keys(named) };
};

/** A schema, and words of its refusal. */
export const unbearableSchemas: Record<string, readonly [JsonValue, string]> = {
  'an allOf of a reference to itself': [
    { $defs: { a: { $ref: '#/$defs/a' } }, allOf: [{ $ref: '#/$defs/a' }] },
    'leads to itself',
  ],
  'an allOf that leads back through properties': [
    {
      $ref: '#/$defs/a',
      $defs: { a: { type: 'object', properties: { b: { type: 'object', allOf: [{ $ref: '#/$defs/a' }] } } } },
    },
    'leads to itself',
  ],
  'an allOf that is written out twice at each level': [
    chain(14, ($ref) => ({
      type: 'object',
      properties: { a: { allOf: [{ $ref }] }, b: { allOf: [{ $ref }] } },
    })),
    'more than',
  ],
  'references in a circle': [
    { $ref: '#/$defs/a', $defs: { a: { anyOf: [{ $ref: '#/$defs/b' }] }, b: { $ref: '#/$defs/a' } } },
    'circle',
  ],
  'references through too many others': [
    chain(600, ($ref) => ({ type: 'object', properties: { a: { $ref } } })),
    'deeper than',
  ],
  'lists of one type many times': [{ type: ['object', 'object'], properties: {} }, 'twice'],
  'references that double': [chain(30, ($ref) => ({ anyOf: [{ $ref }, { $ref }] })), 'begin alike'],
  'lists within lists of which one cannot tell which': [
    {
      $ref: '#/$defs/t',
      $defs: {
        t: {
          anyOf: [
            { type: 'array', items: { $ref: '#/$defs/t' }, maxItems: 3 },
            { type: 'array', items: { $ref: '#/$defs/t' }, maxItems: 4 },
            { type: 'null' },
          ],
        },
      },
    },
    'begin alike',
  ],
  'counts within counts': [{ type: 'string', pattern: '^(a{0,45}){0,45}$' }, 'counts open'],
  'counts in alternatives': [
    {
      anyOf: Array.from({ length: 99 }, (_, index) => ({
        type: 'string',
        pattern: `^(a{0,9}){0,9}b{${index}}$`,
      })),
    },
    'begin alike',
  ],
  'a long name of signs': [
    { type: 'object', properties: { ['é'.repeat(15_000)]: { const: 1 } } },
    'characters',
  ],
  'many properties that are not required': [
    { ...Object(properties(1_000, { const: 1 })), required: [] },
    'not required',
  ],
  'lengths that add up': [properties(60, { type: 'string', maxLength: 2_000 }), 'elements'],
  'lists that add up': [
    properties(90, { type: 'array', items: text, minItems: 600, maxItems: 600 }),
    'elements',
  ],
  'repetitions that add up': [{ type: 'string', pattern: `^${'[a-z]{2000}'.repeat(3_000)}$` }, 'elements'],
  'a least length above the largest': [{ type: 'string', minLength: 2, maxLength: 1 }, 'above its'],
  'a least number of items above the largest': [{ items: text, minItems: 4, maxItems: 2 }, 'above its'],
  'a pattern with such numbers': [{ type: 'string', pattern: '^a{3,1}$' }, 'more often than at most'],
  'a bound of many digits alone': [{ type: 'integer', minimum: Number.MAX_SAFE_INTEGER }, 'at the other end'],
  'a bound of many digits': [{ type: 'integer', maximum: 2 ** 63 }, '64 bits'],
  'a deep pattern': [{ type: 'string', pattern: `^${'('.repeat(60_000)}a${')'.repeat(60_000)}$` }, 'pattern'],
};
