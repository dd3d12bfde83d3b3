// What the values of schemas have in common: their types, and whether one value can fit two schemas. Pure.
import { isJsonObject, type JsonObject, type JsonValue } from '../../util/json.ts';
import { kindOf, partsOf, referenceTarget } from './schema-node.ts';

/** Every type of JSON values, as schemas call them. Whole numbers have one of their own. */
const everyType = ['object', 'array', 'string', 'integer', 'number', 'boolean', 'null'];

/** References followed one after another; in a circle they lead nowhere. */
const mostSteps = 16;

export function typeOfValue(value: JsonValue): string {
  if (value === null) {
    return 'null';
  }
  if (Array.isArray(value)) {
    return 'array';
  }
  return Number.isInteger(value) ? 'integer' : typeof value;
}

/** The types that a value of the schema may have. What cannot be told is every type. */
export function typesOf(schema: JsonValue, root: JsonValue, followed: Set<JsonValue> = new Set()): string[] {
  if (!isJsonObject(schema)) {
    return everyType;
  }
  const kind = kindOf(schema);
  switch (kind) {
    case 'ref': {
      const { $ref: reference = null } = schema;
      // Round a circle no type comes in that is not there already.
      return followed.has(reference)
        ? []
        : typesOf(referenceTarget(root, reference) ?? true, root, followed.add(reference));
    }
    case 'anyOf':
    case 'types':
      return [...new Set(partsOf(schema).flatMap((part) => typesOf(part.schema, root, followed)))];
    case 'const':
      return [typeOfValue(schema['const'] ?? null)];
    case 'enum':
      return [...new Set((Array.isArray(schema['enum']) ? schema['enum'] : []).map(typeOfValue))];
    case 'allOf': {
      const [only, ...others] = partsOf(schema);
      return only !== undefined && others.length === 0 ? typesOf(only.schema, root, followed) : ['object'];
    }
    case 'tuple':
      return ['array'];
    case 'number':
      return ['integer', 'number'];
    case 'any':
    case 'unknown':
      return everyType;
    default:
      return [kind];
  }
}

/** Whether no value can fit two of the schemas: by its type, or by what a property says that both require. */
export function excludeEachOther(schemas: readonly JsonValue[], root: JsonValue): boolean {
  const shapes = schemas.map((schema) => ({
    types: typesOf(schema, root),
    values: listedValues(schema, root),
    tags: requiredValues(target(schema, root), root),
  }));
  return shapes.every((one, index) =>
    shapes.slice(index + 1).every((other) => {
      const share = one.types.filter((type) => other.types.includes(type));
      return (
        share.length === 0 ||
        areDistinct(one.values, other.values) ||
        (share.join() === 'object' &&
          [...one.tags].some(([name, values]) => areDistinct(values, other.tags.get(name))))
      );
    }),
  );
}

function areDistinct(one: readonly string[] | undefined, other: readonly string[] | undefined): boolean {
  return one !== undefined && other !== undefined && !one.some((value) => other.includes(value));
}

function target(schema: JsonValue, root: JsonValue): JsonObject | undefined {
  let found: JsonValue | undefined = schema;
  for (let steps = 0; isJsonObject(found) && found['$ref'] !== undefined && steps < mostSteps; steps++) {
    found = referenceTarget(root, found['$ref']);
  }
  return isJsonObject(found) ? found : undefined;
}

/** The values of a `const` or `enum`, as text. */
export function listedValues(schema: JsonValue, root: JsonValue): string[] | undefined {
  const found = target(schema, root);
  const kind = found === undefined ? 'any' : kindOf(found);
  if (kind === 'const') {
    return [JSON.stringify(found?.['const'])];
  }
  const values = kind === 'enum' ? found?.['enum'] : undefined;
  return Array.isArray(values) ? values.map((value) => JSON.stringify(value)) : undefined;
}

function requiredValues(schema: JsonObject | undefined, root: JsonValue): Map<string, string[]> {
  const tags = new Map<string, string[]>();
  const { properties, required } = schema ?? {};
  if (
    schema !== undefined &&
    kindOf(schema) === 'object' &&
    isJsonObject(properties) &&
    Array.isArray(required)
  ) {
    for (const [name, property] of Object.entries(properties)) {
      const values = required.includes(name) ? listedValues(property, root) : undefined;
      if (values !== undefined) {
        tags.set(name, values);
      }
    }
  }
  return tags;
}
