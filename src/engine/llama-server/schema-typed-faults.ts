// What llama.cpp would drop or get wrong of a schema for one type: its bounds, lengths, properties and items. Pure.
import { isJsonObject, type JsonObject, type JsonValue } from '../../util/json.ts';
import { engineLimits } from '../../util/limits/engine.ts';
import { type SchemaFault, without } from './schema-fault.ts';
import { enforcedFormats, kindOf } from './schema-node.ts';
import { readPattern } from './schema-pattern.ts';

/** The keywords that bound a number. */
export const bounds = ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'];

export function objectFault(schema: JsonObject): SchemaFault | undefined {
  const { properties = {}, required = [], additionalProperties: others = false } = schema;
  if (!isJsonObject(properties)) {
    return without(schema, 'properties', "has 'properties' that are no schemas by name");
  }
  const names = Object.keys(properties);
  if (names.some((name) => name === '' || name.length > engineLimits.schemaNameChars)) {
    const kept = Object.entries(properties).filter(
      ([name]) => name !== '' && name.length <= engineLimits.schemaNameChars,
    );
    return {
      why: `has a property whose name is empty or has more than ${engineLimits.schemaNameChars} characters`,
      repaired: { ...schema, properties: Object.fromEntries(kept) },
    };
  }
  const known = (Array.isArray(required) ? required : []).filter(
    (name) => typeof name === 'string' && Object.hasOwn(properties, name),
  );
  if (!Array.isArray(required) || known.length < required.length) {
    return {
      why: "has 'required' names that are not in its 'properties', which this engine cannot enforce",
      repaired: { ...schema, required: known },
    };
  }
  if (typeof others !== 'boolean' && !isJsonObject(others)) {
    return without(schema, 'additionalProperties', "has 'additionalProperties' that are no schema");
  }
  const isDemand = isJsonObject(others) && kindOf(others) !== 'any';
  return isDemand && names.length > 0
    ? without(
        schema,
        'additionalProperties',
        "has a schema for 'additionalProperties' beside 'properties', which this engine cannot enforce",
      )
    : undefined;
}

export function tupleFault(schema: JsonObject): SchemaFault | undefined {
  const places = Array.isArray(schema['prefixItems']) ? schema['prefixItems'].length : 0;
  const { minItems = places, maxItems = places } = schema;
  if (Number(minItems) <= places && Number(maxItems) >= places) {
    return undefined;
  }
  const keyword = Number(minItems) <= places ? 'maxItems' : 'minItems';
  return without(
    schema,
    keyword,
    `has '${keyword}' beside 'prefixItems' of another length, which this engine cannot enforce`,
  );
}

export function arrayFault(schema: JsonObject): SchemaFault | undefined {
  if (schema['prefixItems'] !== undefined) {
    return without(
      schema,
      'prefixItems',
      "has 'prefixItems' beside 'items', of which this engine can enforce only one",
    );
  }
  return countsFault(schema, ['minItems', 'maxItems'], engineLimits.schemaItems);
}

function countsFault(
  schema: JsonObject,
  keywords: readonly [string, string],
  most: number,
): SchemaFault | undefined {
  for (const keyword of keywords) {
    const count = schema[keyword];
    if (
      count !== undefined &&
      !(typeof count === 'number' && Number.isInteger(count) && count >= 0 && count <= most)
    ) {
      return without(
        schema,
        keyword,
        `has a '${keyword}' that is no whole number up to ${most}, the most this engine can enforce`,
      );
    }
  }
  const [least, largest] = keywords;
  return Number(schema[least] ?? 0) > Number(schema[largest] ?? most)
    ? without(schema, least, `has a '${least}' above its '${largest}'`)
    : undefined;
}

export function stringFault(schema: JsonObject): SchemaFault | undefined {
  const { pattern, format } = schema;
  if (format !== undefined && typeof format !== 'string') {
    return without(schema, 'format', "has a 'format' that is no name");
  }
  const length = ['minLength', 'maxLength'].find((keyword) => schema[keyword] !== undefined);
  if (pattern !== undefined) {
    const fault = typeof pattern === 'string' ? readPattern(pattern).fault : 'is no text';
    if (fault !== undefined) {
      return without(schema, 'pattern', `has a 'pattern' that this engine cannot enforce: it ${fault}`);
    }
  }
  const isEnforced = enforcedFormats.test(String(format));
  if (pattern !== undefined && isEnforced) {
    return without(
      schema,
      'format',
      "has 'format' beside 'pattern', of which this engine can enforce only one",
    );
  }
  const first = isEnforced ? 'format' : 'pattern';
  if (schema[first] !== undefined && (isEnforced || pattern !== undefined) && length !== undefined) {
    return without(
      schema,
      length,
      `has '${length}' beside '${first}', of which this engine can enforce only one`,
    );
  }
  return countsFault(schema, ['minLength', 'maxLength'], engineLimits.schemaLength);
}

export function integerFault(schema: JsonObject): SchemaFault | undefined {
  const isBound = (bound: JsonValue | undefined): boolean =>
    bound === undefined || (typeof bound === 'number' && Math.abs(bound) <= Number.MAX_SAFE_INTEGER);
  const wrong = bounds.find((keyword) => !isBound(schema[keyword]));
  if (wrong !== undefined) {
    return without(
      schema,
      wrong,
      `has a '${wrong}' that is no number up to ${Number.MAX_SAFE_INTEGER} either way`,
    );
  }
  for (const [inclusive, exclusive] of [
    ['minimum', 'exclusiveMinimum'],
    ['maximum', 'exclusiveMaximum'],
  ] as const) {
    if (schema[inclusive] !== undefined && schema[exclusive] !== undefined) {
      return without(
        schema,
        exclusive,
        `has '${exclusive}' beside '${inclusive}', of which this engine can enforce only one`,
      );
    }
  }
  const { least, most } = integerRange(schema);
  const free = Object.fromEntries(Object.entries(schema).filter(([keyword]) => !bounds.includes(keyword)));
  return least > most ? { why: 'has bounds that leave no number', repaired: free } : undefined;
}

/** The whole numbers that the bounds leave. */
export function integerRange(schema: JsonObject): { least: number; most: number } {
  const number = (keyword: string, otherwise: number): number => {
    const bound = schema[keyword];
    return typeof bound === 'number' ? bound : otherwise;
  };
  const above = Math.floor(number('exclusiveMinimum', Number.NEGATIVE_INFINITY)) + 1;
  const below = Math.ceil(number('exclusiveMaximum', Number.POSITIVE_INFINITY)) - 1;
  return {
    least: Math.max(above, Math.ceil(number('minimum', Number.NEGATIVE_INFINITY))),
    most: Math.min(below, Math.floor(number('maximum', Number.POSITIVE_INFINITY))),
  };
}
