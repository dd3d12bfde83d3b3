// Finds what a JSON schema demands and llama.cpp's grammar would drop in silence: an answer that broke the schema
// without a word would be worse than none. Pure.
import { isJsonObject, type JsonObject, type JsonValue } from '../../util/json.ts';
import { assertSmallSchema, refusedSchema } from '../schema-bounds.ts';

/** Keywords that constrain, and that the server does not know. */
const unknownKeywords = [
  ...['not', 'if', 'then', 'else', 'dependentRequired', 'dependentSchemas', 'dependencies'],
  ...['multipleOf', 'uniqueItems', 'contains', 'minContains', 'maxContains', 'unevaluatedItems'],
  ...['patternProperties', 'propertyNames', 'minProperties', 'maxProperties', 'unevaluatedProperties'],
  ...['$dynamicRef', '$recursiveRef'],
];

const bounds = ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'];

/** Where a schema holds further schemas: by name, in lists, or one. */
const byName = ['properties', '$defs', 'definitions'];
const inLists = ['anyOf', 'oneOf', 'allOf', 'prefixItems'];
const single = ['items', 'additionalProperties'];

/** Throws `invalid_schema` naming the keyword, or the bound that the schema exceeds. */
export function assertEnforceable(schema: JsonValue): void {
  assertSmallSchema(schema);
  check(schema, 'schema');
}

function check(schema: JsonValue, path: string): void {
  if (!isJsonObject(schema)) {
    return;
  }
  const unknown = unknownKeywords.find((keyword) => schema[keyword] !== undefined);
  if (unknown !== undefined) {
    throw refusedSchema(path, `has the keyword '${unknown}', which this engine cannot enforce`);
  }
  const { $ref: reference, type } = schema;
  if (typeof reference === 'string' && !reference.startsWith('#')) {
    throw refusedSchema(path, 'has a $ref that leads out of it');
  }
  // Whole numbers are counted out digit by digit; others are not.
  const isWhole = type === 'integer';
  const bound = isWhole ? undefined : bounds.find((keyword) => schema[keyword] !== undefined);
  if (bound !== undefined) {
    throw refusedSchema(path, `has the keyword '${bound}', which this engine enforces for integers only`);
  }
  for (const [part, inner] of parts(schema)) {
    check(inner, `${path}.${part}`);
  }
}

function* parts(schema: JsonObject): Generator<readonly [path: string, schema: JsonValue]> {
  for (const keyword of byName) {
    const named = schema[keyword];
    for (const [name, inner] of isJsonObject(named) ? Object.entries(named) : []) {
      yield [`${keyword}.${name}`, inner];
    }
  }
  for (const keyword of inLists) {
    const list = schema[keyword];
    for (const [index, inner] of (Array.isArray(list) ? list : []).entries()) {
      yield [`${keyword}[${index}]`, inner];
    }
  }
  for (const keyword of single) {
    const inner = schema[keyword];
    if (inner !== undefined) {
      yield [keyword, inner];
    }
  }
}
