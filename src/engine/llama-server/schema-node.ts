// What llama.cpp takes a node of a JSON schema for: it decides by the first keyword it knows, in an order of its own
// (common/json-schema.cpp, `build_node`), and reads nothing of the node but what belongs to that. Pure.
import { isJsonObject, type JsonObject, type JsonValue } from '../../util/json.ts';

export type SchemaKind =
  | 'ref'
  | 'anyOf'
  | 'types'
  | 'const'
  | 'enum'
  | 'allOf'
  | 'object'
  | 'tuple'
  | 'array'
  | 'string'
  | 'integer'
  | 'number'
  | 'boolean'
  | 'null'
  | 'any'
  | 'unknown';

/** A schema within another one. */
export interface SchemaPart {
  /** Where it stands, for messages. */
  readonly path: string;
  /** What llama.cpp adds to the name of the rule. */
  readonly ruleName: string;
  readonly schema: JsonValue;
}

/** The formats of strings that llama.cpp has a grammar for. By the standard `format` only annotates. */
export const enforcedFormats = /^(?:date|time|date-time|uuid[1-5]?)$/;

export function kindOf(schema: JsonObject): SchemaKind {
  const { type } = schema;
  if (schema['$ref'] !== undefined) {
    return 'ref';
  }
  if (schema['oneOf'] !== undefined || schema['anyOf'] !== undefined) {
    return 'anyOf';
  }
  if (Array.isArray(type)) {
    return 'types';
  }
  if (schema['const'] !== undefined) {
    return 'const';
  }
  if (schema['enum'] !== undefined) {
    return 'enum';
  }
  return type === undefined || type === null || type === '' ? untypedKind(schema) : typedKind(schema, type);
}

function untypedKind(schema: JsonObject): SchemaKind {
  if (hasProperties(schema)) {
    return 'object';
  }
  if (schema['allOf'] !== undefined) {
    return 'allOf';
  }
  if (schema['items'] !== undefined || schema['prefixItems'] !== undefined) {
    return arrayKind(schema);
  }
  const { format } = schema;
  const hasFormat = typeof format === 'string' && enforcedFormats.test(format);
  const isString = ['pattern', 'minLength', 'maxLength'].some((keyword) => schema[keyword] !== undefined);
  return isString || hasFormat ? 'string' : 'any';
}

function typedKind(schema: JsonObject, type: JsonValue): SchemaKind {
  switch (type) {
    case 'object':
      return schema['allOf'] !== undefined && !hasProperties(schema) ? 'allOf' : 'object';
    case 'string':
      return schema['allOf'] === undefined ? 'string' : 'allOf';
    case 'array':
      return arrayKind(schema);
    case 'integer':
    case 'number':
    case 'boolean':
    case 'null':
      return type;
    default:
      return 'unknown';
  }
}

function hasProperties(schema: JsonObject): boolean {
  const { properties, additionalProperties } = schema;
  return properties !== undefined || (additionalProperties !== undefined && additionalProperties !== true);
}

/** `items` goes before `prefixItems`; either is a tuple if it is a list, and the schema of each item if not. */
function arrayKind(schema: JsonObject): SchemaKind {
  return Array.isArray(schema['items'] ?? schema['prefixItems']) ? 'tuple' : 'array';
}

/** The schemas that llama.cpp builds of a node, besides the target of its `$ref`. */
export function partsOf(schema: JsonObject): SchemaPart[] {
  switch (kindOf(schema)) {
    case 'anyOf':
      return listed(schema, schema['oneOf'] === undefined ? 'anyOf' : 'oneOf', '');
    case 'types':
      return (Array.isArray(schema['type']) ? schema['type'] : []).map((type, index) => ({
        path: '',
        ruleName: `${index}`,
        schema: { ...schema, type },
      }));
    case 'allOf':
      return listed(schema, 'allOf', '');
    case 'tuple':
      return listed(schema, schema['items'] === undefined ? 'prefixItems' : 'items', 'tuple-');
    case 'array': {
      const keyword = schema['items'] === undefined ? 'prefixItems' : 'items';
      const items = schema[keyword];
      return items === undefined ? [] : [{ path: `.${keyword}`, ruleName: 'item', schema: items }];
    }
    case 'object':
      return objectParts(schema);
    default:
      return [];
  }
}

function objectParts({ properties, additionalProperties }: JsonObject): SchemaPart[] {
  const named = Object.entries(isJsonObject(properties) ? properties : {}).map(([name, schema]) => ({
    path: `.properties.${name}`,
    ruleName: name,
    schema,
  }));
  const others = isJsonObject(additionalProperties)
    ? [{ path: '.additionalProperties', ruleName: 'additional-value', schema: additionalProperties }]
    : [];
  return [...named, ...others];
}

function listed(schema: JsonObject, keyword: string, prefix: string): SchemaPart[] {
  const list = schema[keyword];
  return (Array.isArray(list) ? list : []).map((inner, index) => ({
    path: `.${keyword}[${index}]`,
    ruleName: `${prefix}${index}`,
    schema: inner,
  }));
}

/** What a `$ref` leads to, as llama.cpp looks it up: without any unescaping. */
export function referenceTarget(root: JsonValue, reference: JsonValue | undefined): JsonObject | undefined {
  if (typeof reference !== 'string' || !reference.startsWith('#/')) {
    return undefined;
  }
  let target: JsonValue | undefined = root;
  for (const name of reference.slice(2).split('/')) {
    if (Array.isArray(target)) {
      target = target[Number.parseInt(name, 10)];
    } else {
      target = isJsonObject(target) && Object.hasOwn(target, name) ? target[name] : undefined;
    }
  }
  return isJsonObject(target) ? target : undefined;
}
