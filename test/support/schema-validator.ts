// Whether a value fits a JSON schema, by the standard (draft 2020-12) and written without a look at the engines: what
// their answers are judged by. Knows every keyword that a test uses, and fails on one that it does not know.
import { isDeepStrictEqual } from 'node:util';
import { isJsonObject, type JsonObject, type JsonValue } from '../../src/util/json.ts';

type Check = (value: JsonValue, demand: JsonValue, context: Context) => boolean;

interface Context {
  readonly schema: JsonObject;
  readonly root: JsonValue;
}

export function fits(value: JsonValue, schema: JsonValue, root: JsonValue = schema): boolean {
  if (typeof schema === 'boolean') {
    return schema;
  }
  if (!isJsonObject(schema)) {
    throw new Error(`no schema: ${JSON.stringify(schema)}`);
  }
  return Object.entries(schema).every(([keyword, demand]) => {
    const check = checks[keyword];
    if (check === undefined) {
      throw new Error(`the validator does not know '${keyword}'`);
    }
    return check(value, demand, { schema, root });
  });
}

const annotation: Check = () => true;

/** Only for strings, lists, objects or numbers: others always fit. */
const ofStrings =
  (check: (text: string, demand: JsonValue) => boolean): Check =>
  (value, demand) =>
    typeof value !== 'string' || check(value, demand);
const ofNumbers =
  (check: (number: number, demand: number) => boolean): Check =>
  (value, demand) =>
    typeof value !== 'number' || check(value, Number(demand));
const ofLists =
  (check: (list: JsonValue[], demand: JsonValue, context: Context) => boolean): Check =>
  (value, demand, context) =>
    !Array.isArray(value) || check(value, demand, context);
const ofObjects =
  (check: (object: JsonObject, demand: JsonValue, context: Context) => boolean): Check =>
  (value, demand, context) =>
    !isJsonObject(value) || check(value, demand, context);

const formats: Record<string, RegExp> = {
  date: /^\d{4}-\d\d-\d\d$/,
  time: /^\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/,
  'date-time': /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/,
  uuid: /^[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}$/i,
};

const checks: Record<string, Check> = {
  title: annotation,
  description: annotation,
  default: annotation,
  examples: annotation,
  nullable: annotation,
  discriminator: annotation,
  $schema: annotation,
  $id: annotation,
  $comment: annotation,
  $defs: annotation,
  definitions: annotation,
  'x-note': annotation,
  $ref: (value, demand, { root }) => fits(value, target(root, String(demand)), root),
  type: (value, demand) => listOf(demand).some((type) => isOfType(value, type)),
  const: (value, demand) => isDeepStrictEqual(value, demand),
  enum: (value, demand) => listOf(demand).some((one) => isDeepStrictEqual(value, one)),
  anyOf: (value, demand, { root }) => listOf(demand).some((one) => fits(value, one, root)),
  oneOf: (value, demand, { root }) => listOf(demand).filter((one) => fits(value, one, root)).length === 1,
  allOf: (value, demand, { root }) => listOf(demand).every((one) => fits(value, one, root)),
  minLength: ofStrings((text, demand) => Array.from(text).length >= Number(demand)),
  maxLength: ofStrings((text, demand) => Array.from(text).length <= Number(demand)),
  pattern: ofStrings((text, demand) => new RegExp(String(demand), 'u').test(text)),
  format: ofStrings((text, demand) => formats[String(demand)]?.test(text) ?? true),
  minimum: ofNumbers((number, demand) => number >= demand),
  maximum: ofNumbers((number, demand) => number <= demand),
  exclusiveMinimum: ofNumbers((number, demand) => number > demand),
  exclusiveMaximum: ofNumbers((number, demand) => number < demand),
  multipleOf: ofNumbers((number, demand) => Number.isInteger(number / demand)),
  minItems: ofLists((list, demand) => list.length >= Number(demand)),
  maxItems: ofLists((list, demand) => list.length <= Number(demand)),
  uniqueItems: ofLists(
    (list, demand) => demand !== true || new Set(list.map((one) => JSON.stringify(one))).size === list.length,
  ),
  prefixItems: ofLists((list, demand, { root }) =>
    list
      .slice(0, listOf(demand).length)
      .every((one, index) => fits(one, listOf(demand)[index] ?? true, root)),
  ),
  items: ofLists((list, demand, { schema, root }) =>
    list.slice(listOf(schema['prefixItems'] ?? []).length).every((one) => fits(one, demand, root)),
  ),
  required: ofObjects((object, demand) =>
    listOf(demand).every((name) => Object.hasOwn(object, String(name))),
  ),
  minProperties: ofObjects((object, demand) => Object.keys(object).length >= Number(demand)),
  properties: ofObjects((object, demand, { root }) =>
    Object.entries(isJsonObject(demand) ? demand : {}).every(
      ([name, schema]) => !Object.hasOwn(object, name) || fits(object[name] ?? null, schema, root),
    ),
  ),
  additionalProperties: ofObjects((object, demand, { schema, root }) => {
    const named = isJsonObject(schema['properties']) ? schema['properties'] : {};
    return Object.entries(object).every(
      ([name, value]) => Object.hasOwn(named, name) || fits(value, demand, root),
    );
  }),
};

function listOf(value: JsonValue): JsonValue[] {
  return Array.isArray(value) ? value : [value];
}

function isOfType(value: JsonValue, type: JsonValue): boolean {
  switch (type) {
    case 'null':
      return value === null;
    case 'array':
      return Array.isArray(value);
    case 'object':
      return isJsonObject(value);
    case 'integer':
      return Number.isInteger(value);
    default:
      return typeof value === type;
  }
}

function target(root: JsonValue, reference: string): JsonValue {
  let found: JsonValue | undefined = root;
  for (const name of reference.split('/').slice(1)) {
    found = isJsonObject(found) ? found[name] : undefined;
  }
  return found ?? false;
}
