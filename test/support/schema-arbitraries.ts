// Random JSON schemas, sound and unsound: keywords where they belong and where they do not, references that lead round,
// names that engines stumble over.
import fc from 'fast-check';
import type { JsonObject, JsonValue } from '../../src/util/json.ts';

const names = fc.constantFrom(
  ...['a', 'b', 'kind', 'space', 'string', 'decimal_part', 'a-b', 'ä', 'quo"te', '', 'root', 'ref'],
);
const definitionNames = fc.constantFrom('x', 'y', 'x-a');
const scalars: fc.Arbitrary<JsonValue> = fc.oneof(
  fc.constantFrom<JsonValue>(null, true, 0, -1.5, 'a', 'a\nb', 'quo"te', '\\', 'ü€😀'),
  fc.integer({ min: -1000, max: 1000 }),
);
const values: fc.Arbitrary<JsonValue> = fc.oneof(
  { weight: 5, arbitrary: scalars },
  { weight: 1, arbitrary: fc.constantFrom<JsonValue>([], [1], {}, { a: 1 }) },
);
const patterns = fc.oneof(
  fc.constantFrom(
    ...[
      '^a*$',
      '^[0-9]{3}$',
      '^(a|bc)+$',
      '^ab\\.?$',
      '^[^a]$',
      '^.$',
      '[a-z]',
      '^\\d$',
      '^a+?$',
      '^(?:x|)$',
      '^$',
    ],
    ...[
      '^é*$',
      '^aé$',
      '^[a-f]{2,4}-[g-z]?$',
      '^a|b$',
      '^\\.\\*{2}$',
      '^[\\]\\[a-]{1,2}$',
      '^x{0}y{1,}$',
      '^[^"\\\\\\x00-\\x1f]{1,3}$',
    ],
  ),
  fc
    .array(
      fc.constantFrom(
        'a',
        'b',
        '\\.',
        '[ab]',
        '[^"\\\\\\x00-\\x1f]',
        '(c|d)',
        '(',
        ')',
        '|',
        '*',
        '?',
        '{2}',
        '{1,2}',
        'ü',
        '-',
        '/',
      ),
      {
        maxLength: 6,
      },
    )
    .map((parts) => `^${parts.join('')}$`),
);
const bound = fc.oneof(
  fc.integer({ min: -1200, max: 1200 }),
  fc.constantFrom(100, 1050, -5, 0, 1.5, 9_007_199_254_740_991),
);
const count = fc.integer({ min: 0, max: 3 });

/** Keywords with sound values. */
function keywordsOf(schema: fc.Arbitrary<JsonValue>): Record<string, fc.Arbitrary<JsonValue>> {
  const list = fc.array(schema, { minLength: 1, maxLength: 3 });
  return {
    minLength: count,
    maxLength: count,
    pattern: patterns,
    format: fc.constantFrom('date', 'time', 'date-time', 'uuid', 'email'),
    minimum: bound,
    maximum: bound,
    exclusiveMinimum: bound,
    exclusiveMaximum: bound,
    multipleOf: fc.constant(2),
    minItems: count,
    maxItems: count,
    uniqueItems: fc.boolean(),
    items: schema,
    prefixItems: list,
    properties: fc.dictionary(names, schema, { maxKeys: 4 }),
    required: fc.uniqueArray(names, { maxLength: 2 }),
    additionalProperties: fc.oneof(fc.boolean(), schema),
    minProperties: count,
    anyOf: list,
    oneOf: list,
    allOf: list,
    const: values,
    enum: fc.array(values, { minLength: 1, maxLength: 4 }),
    description: fc.constant('words'),
  };
}

const typeNames = ['object', 'array', 'string', 'integer', 'number', 'boolean', 'null'];
const keywordsOfTypes: Record<string, string[]> = {
  object: ['properties', 'required', 'additionalProperties', 'minProperties', 'allOf'],
  array: ['items', 'prefixItems', 'minItems', 'maxItems', 'uniqueItems'],
  string: ['minLength', 'maxLength', 'pattern', 'format'],
  integer: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf'],
};

const { node } = fc.letrec<{ node: JsonValue; typed: JsonValue; loose: JsonValue }>((tie) => {
  const keywords = keywordsOf(tie('node'));
  const some = (chosen: readonly string[]): fc.Arbitrary<JsonObject> =>
    fc
      .subarray([...chosen], { maxLength: Math.min(3, chosen.length) })
      .chain((picked) =>
        fc.record(
          Object.fromEntries(picked.map((keyword) => [keyword, keywords[keyword] ?? fc.constant(null)])),
        ),
      );
  const typed = fc
    .constantFrom(...typeNames, 'object', 'object', 'array', 'string', 'integer', 'integer')
    .chain((type) =>
      some(keywordsOfTypes[type] ?? []).map((rest): JsonValue => reconciled({ ...rest, type })),
    );
  const loose = fc
    .tuple(
      some(Object.keys(keywords)),
      fc.option(fc.uniqueArray(fc.constantFrom(...typeNames), { minLength: 1, maxLength: 3 })),
    )
    .map(([rest, type]): JsonValue => (type === null ? rest : { ...rest, type }));
  const reference = fc.oneof(
    { weight: 6, arbitrary: definitionNames.map((name): JsonValue => ({ $ref: `#/$defs/${name}` })) },
    { weight: 1, arbitrary: fc.constantFrom<JsonValue>({ $ref: '#' }, { $ref: '#/properties/a' }) },
  );
  const union = fc
    .constantFrom('anyOf', 'oneOf', 'allOf')
    .chain((keyword) => some([keyword]).filter((schema) => schema[keyword] !== undefined));
  return {
    typed,
    loose,
    node: fc.oneof(
      { maxDepth: 3, depthSize: 'small' },
      {
        weight: 1,
        arbitrary: fc.constantFrom<JsonValue>({}, true, { type: 'null' }, { const: 1 }, { type: 'boolean' }),
      },
      { weight: 8, arbitrary: typed },
      { weight: 1, arbitrary: loose },
      { weight: 2, arbitrary: reference },
      { weight: 2, arbitrary: union },
      {
        weight: 1,
        arbitrary: fc
          .uniqueArray(values, { minLength: 1, maxLength: 4 })
          .map((list): JsonValue => ({ enum: list })),
      },
    ),
  };
});

/** Most schemas require what they have: else nearly all would be refused for that. */
function reconciled(schema: JsonObject): JsonObject {
  const { properties, required } = schema;
  if (!Array.isArray(required) || required.length !== 1) {
    return schema;
  }
  return { ...schema, required: Object.keys(properties ?? {}).slice(0, 2) };
}

/** A schema with definitions that it may refer to. */
export const schemas: fc.Arbitrary<JsonValue> = fc
  .tuple(node, fc.dictionary(definitionNames, node, { minKeys: 2, maxKeys: 3 }))
  .map(([root, $defs]) =>
    typeof root === 'object' && root !== null && !Array.isArray(root) ? { ...root, $defs } : root,
  );
