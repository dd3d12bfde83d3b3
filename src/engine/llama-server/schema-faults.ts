// What one node of a JSON schema demands and llama.cpp would drop without a word, or get wrong: found by an allow-list
// of what it reads of each kind of node. Pure.
import type { JsonObject, JsonValue } from '../../util/json.ts';
import {
  allOfFault,
  alternativesFault,
  hasValues,
  referenceFault,
  typesFault,
  valuesFault,
} from './schema-combined-faults.ts';
import { type SchemaFault, without } from './schema-fault.ts';
import { kindOf, type SchemaKind } from './schema-node.ts';
import {
  arrayFault,
  bounds,
  integerFault,
  objectFault,
  stringFault,
  tupleFault,
} from './schema-typed-faults.ts';

/** Keywords that describe and do not constrain. */
const annotations = new Set([
  ...['$schema', '$id', '$comment', '$anchor', '$defs', 'definitions', 'title', 'description', 'default'],
  ...['examples', 'example', 'deprecated', 'readOnly', 'writeOnly', 'discriminator', 'nullable'],
]);

/** What llama.cpp reads of each kind. */
const keywordsOfKind: Record<SchemaKind, readonly string[]> = {
  ref: ['$ref'],
  anyOf: ['anyOf', 'oneOf', 'type'],
  // Each of its types is looked at by itself.
  types: [],
  const: ['const', 'type'],
  enum: ['enum', 'type'],
  allOf: ['allOf', 'type', 'additionalProperties'],
  object: ['type', 'properties', 'required', 'additionalProperties'],
  tuple: ['type', 'items', 'prefixItems', 'minItems', 'maxItems'],
  array: ['type', 'items', 'minItems', 'maxItems'],
  string: ['type', 'pattern', 'minLength', 'maxLength', 'format'],
  integer: ['type', ...bounds],
  number: ['type'],
  boolean: ['type'],
  null: ['type'],
  any: ['type', 'additionalProperties', 'format'],
  unknown: [],
};

/** Keywords that speak of values of one type only: beside another type they demand nothing. */
const keywordsOfType: Record<string, readonly string[]> = {
  object: [
    ...['properties', 'required', 'additionalProperties', 'minProperties', 'maxProperties', 'propertyNames'],
    ...[
      'patternProperties',
      'dependentRequired',
      'dependentSchemas',
      'dependencies',
      'unevaluatedProperties',
    ],
  ],
  array: [
    ...['items', 'prefixItems', 'additionalItems', 'minItems', 'maxItems', 'uniqueItems'],
    ...['contains', 'minContains', 'maxContains', 'unevaluatedItems'],
  ],
  string: ['minLength', 'maxLength', 'pattern', 'format', 'contentEncoding', 'contentMediaType'],
  number: ['multipleOf', ...bounds],
};

/** The first fault of a node, if it has one. `root` is what its references lead into. */
export function faultOf(schema: JsonObject, root: JsonValue): SchemaFault | undefined {
  const kind = kindOf(schema);
  return faultOfKind(kind, schema, root) ?? unreadKeyword(kind, schema);
}

function unreadKeyword(kind: SchemaKind, schema: JsonObject): SchemaFault | undefined {
  if (kind === 'types') {
    return undefined;
  }
  const elsewhere = Object.entries(keywordsOfType).flatMap(([type, keywords]) =>
    isOfType(kind, type) ? [] : keywords,
  );
  const unread = Object.keys(schema).find(
    (keyword) =>
      !keywordsOfKind[kind].includes(keyword) &&
      !annotations.has(keyword) &&
      !keyword.startsWith('x-') &&
      !elsewhere.includes(keyword),
  );
  return unread === undefined
    ? undefined
    : without(
        schema,
        unread,
        `has the keyword '${unread}', which this engine cannot enforce ${placeOf(kind)}`,
      );
}

/** Whether values of the kind may be of the type, so that its keywords matter. */
function isOfType(kind: SchemaKind, type: string): boolean {
  const types: Partial<Record<SchemaKind, string>> = {
    ...{ object: 'object', allOf: 'object', array: 'array', tuple: 'array', string: 'string' },
    ...{ integer: 'number', number: 'number', boolean: 'boolean', null: 'null' },
  };
  return (types[kind] ?? type) === type;
}

function placeOf(kind: SchemaKind): string {
  const beside: Partial<Record<SchemaKind, string>> = {
    ...{ ref: 'beside $ref', anyOf: 'beside anyOf or oneOf', allOf: 'beside allOf', const: 'beside const' },
    ...{ enum: 'beside enum', tuple: 'for lists with a schema for each place', any: 'without a type' },
  };
  return beside[kind] ?? `for the type ${kind}`;
}

function faultOfKind(kind: SchemaKind, schema: JsonObject, root: JsonValue): SchemaFault | undefined {
  switch (kind) {
    case 'ref':
      return referenceFault(schema, root);
    case 'anyOf':
      return alternativesFault(schema, root);
    case 'types':
      return typesFault(schema) ?? (hasValues(schema) ? valuesFault(schema) : undefined);
    case 'const':
    case 'enum':
      return valuesFault(schema);
    case 'allOf':
      return allOfFault(schema, root);
    case 'object':
      return objectFault(schema);
    case 'tuple':
      return schema['items'] === undefined
        ? tupleFault(schema)
        : without(schema, 'items', "has a list as 'items'; 'prefixItems' is the keyword for it");
    case 'array':
      return arrayFault(schema);
    case 'string':
      return stringFault(schema);
    case 'integer':
      return integerFault(schema);
    case 'unknown':
      return without(schema, 'type', `has the unknown type ${JSON.stringify(schema['type'])}`);
    default:
      return undefined;
  }
}
