// What llama.cpp would drop or get wrong of a schema that is made of others or of values. Pure.
import { isJsonObject, type JsonObject, type JsonValue } from '../../util/json.ts';
import { type SchemaFault, without } from './schema-fault.ts';
import { excludeEachOther, typeOfValue, typesOf } from './schema-kinship.ts';
import { kindOf, referenceTarget } from './schema-node.ts';

export function referenceFault(schema: JsonObject, root: JsonValue): SchemaFault | undefined {
  const { $ref: reference } = schema;
  const isKnown = typeof reference === 'string' && /^#\/(?:\$defs|definitions)\/[^/~%]+$/u.test(reference);
  return reference === '#' || (isKnown && referenceTarget(root, reference) !== undefined)
    ? undefined
    : without(
        schema,
        '$ref',
        "has a $ref that leads to no object in the schema's own '$defs' or 'definitions'",
      );
}

export function alternativesFault(schema: JsonObject, root: JsonValue): SchemaFault | undefined {
  const { anyOf, oneOf, type } = schema;
  const keyword = oneOf === undefined ? 'anyOf' : 'oneOf';
  const alternatives = oneOf ?? anyOf;
  if (schema['properties'] !== undefined) {
    return without(
      schema,
      keyword,
      `has '${keyword}' beside 'properties', of which this engine can enforce only one`,
    );
  }
  if (oneOf !== undefined && anyOf !== undefined) {
    return without(schema, 'anyOf', "has 'anyOf' beside 'oneOf', of which this engine can enforce only one");
  }
  if (!Array.isArray(alternatives) || alternatives.length === 0) {
    return without(schema, keyword, `has an '${keyword}' that is no list of schemas`);
  }
  if (oneOf !== undefined && !excludeEachOther(alternatives, root)) {
    const { oneOf: loose, ...rest } = schema;
    return {
      why: "has a 'oneOf' of which two may hold at once: this engine can enforce only 'anyOf'",
      repaired: { ...rest, anyOf: loose ?? null },
    };
  }
  return typesOf(schema, root).every((one) => isAllowed(one, type))
    ? undefined
    : without(schema, 'type', `has a 'type' beside '${keyword}' that not all of its schemas have`);
}

export function typesFault(schema: JsonObject): SchemaFault | undefined {
  const types = Array.isArray(schema['type']) ? schema['type'] : [];
  const distinct = [...new Set(types.filter((type) => typeof type === 'string'))];
  if (distinct.length === 0 || distinct.length < types.length) {
    const { type: _none, ...rest } = schema;
    const repaired = distinct.length === 0 ? rest : { ...rest, type: distinct };
    return { why: "has a 'type' that is no list of distinct names", repaired };
  }
  return schema['allOf'] === undefined
    ? undefined
    : without(
        schema,
        'allOf',
        "has the keyword 'allOf', which this engine cannot enforce beside several types",
      );
}

/** Whether it lists its values: then types only have to agree with them. */
export function hasValues(schema: JsonObject): boolean {
  return schema['const'] !== undefined || schema['enum'] !== undefined;
}

export function valuesFault(schema: JsonObject): SchemaFault | undefined {
  const keyword = schema['const'] === undefined ? 'enum' : 'const';
  const values = keyword === 'const' ? [schema['const'] ?? null] : schema['enum'];
  if (!Array.isArray(values) || values.length === 0) {
    return without(schema, 'enum', "has an 'enum' that is no list of values");
  }
  const fitting = values.filter((value) => isAllowed(typeOfValue(value), schema['type']));
  if (fitting.length === values.length) {
    return undefined;
  }
  const why = `has values in '${keyword}' that are not of its type`;
  return keyword === 'const' || fitting.length === 0
    ? without(schema, 'type', why)
    : { why, repaired: { ...schema, enum: fitting } };
}

/** Whether the keyword `type` leaves values of a type in. */
function isAllowed(type: string, allowed: JsonValue | undefined): boolean {
  const names = Array.isArray(allowed) ? allowed : [allowed];
  return allowed === undefined || names.includes(type) || (type === 'integer' && names.includes('number'));
}

export function allOfFault(schema: JsonObject, root: JsonValue): SchemaFault | undefined {
  const { allOf, type } = schema;
  const list = Array.isArray(allOf) ? allOf : [];
  const parts = list.map((part) => resolved(part, root));
  const names = parts.flatMap((part) =>
    Object.keys(isJsonObject(part?.['properties']) ? part['properties'] : {}),
  );
  const isOne = list.length === 1 && typesOf(list[0] ?? true, root).every((one) => isAllowed(one, type));
  // One that is closed by itself leaves no room for the properties of the others.
  const areOpenObjects = parts.every(
    (part) =>
      part !== undefined &&
      kindOf(part) === 'object' &&
      [undefined, true].includes(part['additionalProperties'] as undefined),
  );
  const isMerged =
    type !== 'string' && list.length > 0 && areOpenObjects && new Set(names).size === names.length;
  return isOne || isMerged
    ? undefined
    : without(
        schema,
        'allOf',
        "has an 'allOf' of something else than objects with distinct properties and room for others",
      );
}

function resolved(schema: JsonValue, root: JsonValue): JsonObject | undefined {
  const target =
    isJsonObject(schema) && schema['$ref'] !== undefined ? referenceTarget(root, schema['$ref']) : schema;
  return isJsonObject(target) ? target : undefined;
}
