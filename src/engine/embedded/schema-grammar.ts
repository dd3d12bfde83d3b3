// Maps a JSON schema to the subset that node-llama-cpp can turn into a grammar. What it cannot express
// is refused by name: an answer that silently broke the schema would be worse. Pure.
import type { GbnfJsonSchema } from 'node-llama-cpp';
import { isJsonObject, type JsonObject, type JsonValue } from '../../util/json.ts';
import { assertSmallSchema, refusedSchema } from '../schema-bounds.ts';

/** Keywords that describe and do not constrain: they are dropped. `format` is an annotation by the standard. */
const annotations = new Set([
  '$schema',
  '$id',
  '$comment',
  '$anchor',
  'title',
  'description',
  'default',
  'examples',
  'example',
  'deprecated',
  'readOnly',
  'writeOnly',
  'format',
]);

/** What a schema of each type may hold besides `type`. */
const keywordsOfType: Record<string, readonly string[]> = {
  object: ['properties', 'required', 'additionalProperties', 'minProperties', 'maxProperties'],
  array: ['items', 'prefixItems', 'minItems', 'maxItems'],
  string: ['minLength', 'maxLength'],
  number: [],
  integer: [],
  boolean: [],
  null: [],
};

/** Any JSON value. */
const anyValue = {
  oneOf: [
    { type: 'object', additionalProperties: true },
    { type: 'array' },
    { type: ['string', 'number', 'boolean', 'null'] },
  ],
} as const satisfies JsonValue;

/** Any JSON object: the schema behind `response_format: json_object`. */
export const anyObject = { type: 'object', additionalProperties: true } as const satisfies GbnfJsonSchema;

/** The same schema in node-llama-cpp's words. Throws `invalid_schema` naming the keyword it has no word for. */
export function toGrammarSchema(schema: JsonValue): GbnfJsonSchema {
  assertSmallSchema(schema);
  const root = mapSchema(schema, 'schema');
  const defs = isJsonObject(schema) ? (schema['$defs'] ?? schema['definitions']) : undefined;
  const mapped = isJsonObject(defs) ? { ...root, $defs: mapEach(defs, 'schema.$defs') } : root;
  // The library's type follows every literal of a schema; ours is only known at run time.
  return mapped as GbnfJsonSchema;
}

function mapSchema(schema: JsonValue, path: string): JsonObject {
  if (schema === true) {
    return anyValue as unknown as JsonObject;
  }
  if (!isJsonObject(schema)) {
    throw refusedSchema(path, 'must be an object');
  }
  if (typeof schema['$ref'] === 'string') {
    return mapReference(schema, path);
  }
  const alternatives = schema['anyOf'] ?? schema['oneOf'];
  if (alternatives !== undefined) {
    return mapAlternatives(schema, alternatives, path);
  }
  if (schema['const'] !== undefined) {
    allowOnly(schema, ['const', 'type'], path);
    return { const: literal(schema['const'], `${path}.const`) };
  }
  if (schema['enum'] !== undefined) {
    allowOnly(schema, ['enum', 'type'], path);
    return { enum: list(schema['enum'], `${path}.enum`).map((value) => literal(value, `${path}.enum`)) };
  }
  return mapTyped(schema, path);
}

function mapTyped(schema: JsonObject, path: string): JsonObject {
  const type = schema['type'] ?? impliedType(schema);
  if (type === undefined) {
    allowOnly(schema, [], path);
    return anyValue as unknown as JsonObject;
  }
  if (Array.isArray(type)) {
    // Each type once: the keywords of a type repeated would be mapped again, twice as many at every level.
    return { oneOf: [...new Set(type)].map((one) => mapTyped({ ...onlyFor(schema, one), type: one }, path)) };
  }
  const keywords = typeof type === 'string' ? keywordsOfType[type] : undefined;
  if (typeof type !== 'string' || keywords === undefined) {
    throw refusedSchema(path, `has the unknown type ${JSON.stringify(type)}`);
  }
  allowOnly(schema, ['type', ...keywords], path);
  if (type === 'object') {
    return mapObject(schema, path);
  }
  if (type === 'array') {
    return mapArray(schema, path);
  }
  return { type, ...picked(schema, keywords) };
}

function mapObject(schema: JsonObject, path: string): JsonObject {
  const properties = isJsonObject(schema['properties'])
    ? mapEach(schema['properties'], `${path}.properties`)
    : {};
  const required = list(schema['required'] ?? [], `${path}.required`).filter(
    (key) => typeof key === 'string',
  );
  for (const key of required) {
    properties[key] ??= anyValue as unknown as JsonObject;
  }
  const open = Object.keys(properties).length === 0;
  const additional = schema['additionalProperties'] ?? open;
  return {
    type: 'object',
    properties,
    additionalProperties:
      typeof additional === 'boolean' ? additional : mapSchema(additional, `${path}.additionalProperties`),
    ...(required.length > 0 ? { required } : {}),
    ...picked(schema, ['minProperties', 'maxProperties']),
  };
}

function mapArray(schema: JsonObject, path: string): JsonObject {
  const items = schema['items'];
  const first = schema['prefixItems'];
  return {
    type: 'array',
    ...(items === undefined ? {} : { items: mapSchema(items, `${path}.items`) }),
    ...(first === undefined
      ? {}
      : {
          prefixItems: list(first, `${path}.prefixItems`).map((item, index) =>
            mapSchema(item, `${path}.prefixItems[${index}]`),
          ),
        }),
    ...picked(schema, ['minItems', 'maxItems']),
  };
}

function mapAlternatives(schema: JsonObject, alternatives: JsonValue, path: string): JsonObject {
  const keyword = schema['anyOf'] === undefined ? 'oneOf' : 'anyOf';
  allowOnly(schema, [keyword], path);
  const mapped = list(alternatives, `${path}.${keyword}`).map((alternative, index) =>
    mapSchema(alternative, `${path}.${keyword}[${index}]`),
  );
  if (mapped.length === 0) {
    throw refusedSchema(path, `has an empty ${keyword}`);
  }
  return { oneOf: mapped };
}

function mapReference(schema: JsonObject, path: string): JsonObject {
  allowOnly(schema, ['$ref'], path);
  const target = /^#\/(?:\$defs|definitions)\/([^/]+)$/.exec(String(schema['$ref']))?.[1];
  if (target === undefined) {
    throw refusedSchema(path, 'has a $ref that does not point into $defs');
  }
  return { $ref: `#/$defs/${target}` };
}

function mapEach(schemas: JsonObject, path: string): Record<string, JsonObject> {
  return Object.fromEntries(
    Object.entries(schemas).map(([name, schema]) => [name, mapSchema(schema, `${path}.${name}`)]),
  );
}

/** The type that a schema without `type` means, from the keywords it uses. */
function impliedType(schema: JsonObject): string | undefined {
  return Object.keys(keywordsOfType).find((type) =>
    keywordsOfType[type]?.some((keyword) => schema[keyword] !== undefined),
  );
}

/** The keywords of a schema that speak of one of its several types. */
function onlyFor(schema: JsonObject, type: JsonValue): JsonObject {
  const others = Object.entries(keywordsOfType).flatMap(([other, keywords]) =>
    other === type ? [] : keywords,
  );
  return Object.fromEntries(Object.entries(schema).filter(([keyword]) => !others.includes(keyword)));
}

function picked(schema: JsonObject, keywords: readonly string[]): JsonObject {
  return Object.fromEntries(Object.entries(schema).filter(([keyword]) => keywords.includes(keyword)));
}

function allowOnly(schema: JsonObject, keywords: readonly string[], path: string): void {
  for (const [keyword, value] of Object.entries(schema)) {
    const known = keywords.includes(keyword) || annotations.has(keyword) || isNoBound(keyword, value);
    if (!known && keyword !== '$defs' && keyword !== 'definitions') {
      throw refusedSchema(path, `uses the keyword '${keyword}', which this engine cannot enforce`);
    }
  }
}

/** Bounds that leave every exact integer in: schema libraries write them for "any integer". */
function isNoBound(keyword: string, value: JsonValue): boolean {
  if (typeof value !== 'number') {
    return false;
  }
  const least = keyword === 'minimum' || keyword === 'exclusiveMinimum';
  const most = keyword === 'maximum' || keyword === 'exclusiveMaximum';
  return (least && value <= Number.MIN_SAFE_INTEGER) || (most && value >= Number.MAX_SAFE_INTEGER);
}

function literal(value: JsonValue, path: string): string | number | boolean | null {
  if (typeof value === 'object' && value !== null) {
    throw refusedSchema(path, 'holds an object or a list, which this engine cannot enforce');
  }
  return value;
}

function list(value: JsonValue, path: string): JsonValue[] {
  if (!Array.isArray(value)) {
    throw refusedSchema(path, 'must be a list');
  }
  return value;
}
