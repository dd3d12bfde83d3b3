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

/** The types of values that llama.cpp writes for a schema. What cannot be told is every type. */
export function typesOf(schema: JsonValue, root: JsonValue): string[] {
  return typesWithin(schema, { root, areWritten: true, followed: new Set() });
}

interface TypeOptions {
  readonly root: JsonValue;
  /** Whether those count that llama.cpp writes; else all that fit: a keyword for one type leaves the others free. */
  readonly areWritten: boolean;
  /** Round a circle of references no type comes in that is not there already. */
  readonly followed: Set<JsonValue>;
}

function typesWithin(schema: JsonValue, options: TypeOptions): string[] {
  const { root, areWritten, followed } = options;
  if (!isJsonObject(schema)) {
    return everyType;
  }
  const kind = kindOf(schema);
  const isTyped = schema['type'] !== undefined;
  switch (kind) {
    case 'ref': {
      const { $ref: reference = null } = schema;
      return followed.has(reference)
        ? []
        : typesWithin(referenceTarget(root, reference) ?? true, {
            ...options,
            followed: followed.add(reference),
          });
    }
    case 'anyOf':
    case 'types':
      return [...new Set(partsOf(schema).flatMap((part) => typesWithin(part.schema, options)))];
    case 'const':
      return [typeOfValue(schema['const'] ?? null)];
    case 'enum':
      return [...new Set((Array.isArray(schema['enum']) ? schema['enum'] : []).map(typeOfValue))];
    case 'allOf': {
      const parts = partsOf(schema);
      const [only] = parts;
      if (only !== undefined && parts.length === 1) {
        return typesWithin(only.schema, options);
      }
      return isTyped || areWritten ? ['object'] : everyType;
    }
    case 'number':
      return ['integer', 'number'];
    case 'any':
    case 'unknown':
      return everyType;
    default:
      return isTyped || areWritten ? [kind === 'tuple' ? 'array' : kind] : everyType;
  }
}

interface Shape {
  readonly written: readonly string[];
  readonly fitting: readonly string[];
  readonly values: readonly string[] | undefined;
  readonly tags: ReadonlyMap<string, string[]>;
}

/**
 * Whether nothing that is written for one of the schemas fits another one: by its type, or by what a property says
 * that both require.
 */
export function excludeEachOther(schemas: readonly JsonValue[], root: JsonValue): boolean {
  const shapes = schemas.map((schema) => ({
    written: typesOf(schema, root),
    fitting: typesWithin(schema, { root, areWritten: false, followed: new Set() }),
    values: listedValues(schema, root),
    tags: requiredValues(target(schema, root), root),
  }));
  return shapes.every((one, index) =>
    shapes.slice(index + 1).every((other) => staysOutside(one, other) && staysOutside(other, one)),
  );
}

function staysOutside(one: Shape, other: Shape): boolean {
  const share = one.written.filter((type) => other.fitting.includes(type));
  return (
    share.length === 0 ||
    areDistinct(one.values, other.values) ||
    (share.join() === 'object' &&
      [...one.tags].some(([name, values]) => areDistinct(values, other.tags.get(name))))
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
