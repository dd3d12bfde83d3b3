// Maps a JSON schema to what llama.cpp reads of it: an answer that broke the schema without a word would be worse than
// none. What it would drop is refused by name, or left out where a schema is only advice. Pure.
import { isJsonObject, type JsonObject, type JsonValue } from '../../util/json.ts';
import { assertSmallSchema, refusedSchema, type SchemaParam } from '../schema-bounds.ts';
import { hasValues } from './schema-combined-faults.ts';
import { assertBearableSchema } from './schema-cost.ts';
import { faultOf } from './schema-faults.ts';
import { kindOf, partsOf, referenceTarget } from './schema-node.ts';
import { assertDistinctRules } from './schema-rule-names.ts';
import { integerRange } from './schema-typed-faults.ts';

export interface EnforcedSchema {
  readonly schema: JsonObject;
  /** The schemas that references lead to, by the names the references have now. */
  readonly definitions: JsonObject;
}

export interface EnforceOptions {
  /** Whether what cannot be enforced is left out; else it is refused. */
  readonly lenient: boolean;
  readonly param: SchemaParam;
  /** What the names of definitions begin with. */
  readonly prefix: string;
}

/** Throws `invalid_schema` naming the keyword that cannot be enforced, or the bound that the schema exceeds. */
export function assertEnforceable(schema: JsonValue): void {
  enforcedSchema(schema);
}

/** The schema that holds an answer to `schema`. Throws as `assertEnforceable`. */
export function enforcedSchema(schema: JsonValue): JsonObject {
  assertSmallSchema(schema);
  assertBearableSchema(schema, 'response_format');
  const mapped = mapSchema(schema, { lenient: false, param: 'response_format', prefix: 'def' });
  const whole = withDefinitions(mapped.schema, mapped.definitions);
  assertBearableSchema(whole, 'response_format');
  assertDistinctRules(whole, 'response_format');
  return whole;
}

export function withDefinitions(schema: JsonObject, definitions: JsonObject): JsonObject {
  return Object.keys(definitions).length === 0 ? schema : { ...schema, $defs: definitions };
}

/** Maps a schema with all that its references lead to. Throws `invalid_schema` unless lenient. */
export function mapSchema(root: JsonValue, options: EnforceOptions): EnforcedSchema {
  const mapper = new SchemaMapper(root, options);
  const schema = mapper.map(root, 'schema');
  return { schema, definitions: mapper.definitions() };
}

class SchemaMapper {
  readonly #root: JsonValue;
  readonly #options: EnforceOptions;
  /** New names of definitions by what leads to them; the map grows while it is walked. */
  readonly #names = new Map<string, string>();

  constructor(root: JsonValue, options: EnforceOptions) {
    this.#root = root;
    this.#options = options;
  }

  definitions(): JsonObject {
    const mapped: JsonObject = {};
    for (const [reference, name] of this.#names) {
      const target = reference === '#' ? this.#root : referenceTarget(this.#root, reference);
      mapped[name] = this.map(target ?? true, reference);
    }
    return mapped;
  }

  map(value: JsonValue, path: string): JsonObject {
    if (!isJsonObject(value)) {
      if (value !== true && !this.#options.lenient) {
        throw refusedSchema(path, 'is no schema that an answer can fit', this.#options.param);
      }
      return {};
    }
    const schema = this.#faultless(plainTuple(value), path);
    if (kindOf(schema) === 'types' && hasValues(schema)) {
      const { type: _agrees, ...values } = schema;
      return this.map(values, path);
    }
    const inner = partsOf(schema).map((part) => this.map(part.schema, path + part.path));
    switch (kindOf(schema)) {
      case 'ref':
        return { $ref: this.#renamed(String(schema['$ref'])) };
      case 'anyOf':
      case 'types':
        return { anyOf: inner };
      case 'allOf':
        return inner.length === 1 ? (inner[0] ?? {}) : { allOf: inner };
      case 'const':
        return picked(schema, ['const']);
      case 'enum':
        return { enum: [...new Set(Array.isArray(schema['enum']) ? schema['enum'] : [])] };
      case 'object':
        return mappedObject(schema, inner);
      case 'tuple':
        return { type: 'array', prefixItems: inner };
      case 'array':
        return {
          type: 'array',
          ...(inner[0] === undefined ? {} : { items: inner[0] }),
          ...picked(schema, ['minItems', 'maxItems']),
        };
      case 'string':
        return { type: 'string', ...picked(schema, ['pattern', 'minLength', 'maxLength', 'format']) };
      case 'integer':
        return mappedInteger(schema);
      case 'any':
        return {};
      default:
        return picked(schema, ['type']);
    }
  }

  /** Faults are repaired one by one: each repair leaves a demand out. */
  #faultless(schema: JsonObject, path: string): JsonObject {
    let repaired = schema;
    for (
      let fault = faultOf(repaired, this.#root);
      fault !== undefined;
      fault = faultOf(repaired, this.#root)
    ) {
      if (!this.#options.lenient) {
        throw refusedSchema(path, fault.why, this.#options.param);
      }
      repaired = fault.repaired;
    }
    return repaired;
  }

  #renamed(reference: string): string {
    const name = this.#names.get(reference) ?? `${this.#options.prefix}${this.#names.size}`;
    this.#names.set(reference, name);
    return `#/$defs/${name}`;
  }
}

/** What comes after the places of a tuple never comes: llama.cpp writes just these. */
function plainTuple(schema: JsonObject): JsonObject {
  const { items, ...rest } = schema;
  return Array.isArray(schema['prefixItems']) && !Array.isArray(items) ? rest : schema;
}

/**
 * Without a word on others llama.cpp allows none, once there are `properties`. Beside named ones others are no more
 * than permitted, and it would write broken names for them.
 */
function mappedObject(schema: JsonObject, inner: readonly JsonObject[]): JsonObject {
  const { properties, additionalProperties: others = properties === undefined } = schema;
  const names = Object.keys(isJsonObject(properties) ? properties : {});
  const mayHaveOthers = names.length === 0 && others !== false;
  return {
    type: 'object',
    properties: Object.fromEntries(names.map((name, index) => [name, inner[index] ?? {}])),
    ...picked(schema, ['required']),
    ...(mayHaveOthers ? { additionalProperties: inner[names.length] ?? true } : {}),
  };
}

/** With one bound alone llama.cpp makes mistakes; so the other is the largest whole number that JSON is safe with. */
function mappedInteger(schema: JsonObject): JsonObject {
  const { least, most } = integerRange(schema);
  if (!Number.isFinite(least) && !Number.isFinite(most)) {
    return { type: 'integer' };
  }
  return {
    type: 'integer',
    minimum: Math.max(least, Number.MIN_SAFE_INTEGER),
    maximum: Math.min(most, Number.MAX_SAFE_INTEGER),
  };
}

function picked(schema: JsonObject, keywords: readonly string[]): JsonObject {
  return Object.fromEntries(Object.entries(schema).filter(([keyword]) => keywords.includes(keyword)));
}
