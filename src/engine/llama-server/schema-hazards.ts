// What of a single node of a JSON schema ends or stops llama.cpp's process, whatever stands around it. Pure.
import { isJsonObject, type JsonObject, type JsonValue } from '../../util/json.ts';
import { engineLimits } from '../../util/limits/engine.ts';
import { kindOf } from './schema-node.ts';
import { readPattern } from './schema-pattern.ts';

/** What is hazardous about the node, as the end of a sentence that begins with where it is. */
export function hazardOf(schema: JsonObject): string | undefined {
  const { schemaNameChars, schemaOptional } = engineLimits;
  const { properties, type, $ref: reference = '' } = schema;
  const names = [...Object.keys(isJsonObject(properties) ? properties : {}), String(reference)];
  if (names.some((name) => name.length > schemaNameChars)) {
    return `has a name of more than ${schemaNameChars} characters`;
  }
  if (optionalNames(schema).length > schemaOptional) {
    return `has more than ${schemaOptional} properties that are not required`;
  }
  if (Array.isArray(type) && new Set(type).size < type.length) {
    return 'has a type twice';
  }
  switch (kindOf(schema)) {
    case 'string':
      return stringHazard(schema);
    case 'array':
      return reversed(schema, 'minItems', 'maxItems');
    case 'integer':
      return integerHazard(schema);
    default:
      return undefined;
  }
}

/** Names of the properties that an object may leave out. */
export function optionalNames({ properties, required }: JsonObject): string[] {
  const needed = new Set(Array.isArray(required) ? required : []);
  return Object.keys(isJsonObject(properties) ? properties : {}).filter((name) => !needed.has(name));
}

function stringHazard(schema: JsonObject): string | undefined {
  const { pattern } = schema;
  if (typeof pattern === 'string') {
    const { readings, isReversed } = readPattern(pattern);
    if (isReversed) {
      return "has a 'pattern' that repeats something at least more often than at most";
    }
    if (readings > engineLimits.grammarReadings) {
      return `has a 'pattern' that leaves more than ${engineLimits.grammarReadings} counts open at once`;
    }
  }
  return reversed(schema, 'minLength', 'maxLength');
}

/** llama.cpp subtracts one from the other and makes that many rules: a negative number is a very large one to it. */
function reversed(schema: JsonObject, least: string, most: string): string | undefined {
  return Number(schema[least] ?? 0) > Number(schema[most] ?? Number.POSITIVE_INFINITY)
    ? `has a '${least}' above its '${most}'`
    : undefined;
}

/** Beyond it llama.cpp's 64-bit numbers overflow. */
const mostOfAny = 2 ** 63 - 1024;

/** With one bound alone of more digits, llama.cpp writes a repetition of negative length. */
const mostAlone = 10 ** 15 - 1;

function integerHazard(schema: JsonObject): string | undefined {
  const least = numberOf(schema['minimum'] ?? schema['exclusiveMinimum']);
  const most = numberOf(schema['maximum'] ?? schema['exclusiveMaximum']);
  if (Math.abs(least ?? 0) > mostOfAny || Math.abs(most ?? 0) > mostOfAny) {
    return 'has a bound of more than 64 bits';
  }
  const isLong = least === undefined ? (most ?? 0) < -mostAlone : most === undefined && least > mostAlone;
  return isLong ? `has a bound beyond ${mostAlone} without one at the other end` : undefined;
}

function numberOf(bound: JsonValue | undefined): number | undefined {
  return typeof bound === 'number' ? bound : undefined;
}
