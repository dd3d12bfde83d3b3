// How many readings of one answer llama.cpp would have to follow at once for a JSON schema. It follows all alternatives
// that begin alike until the text tells them apart, each with all that is open within it: nested or recursive ones
// multiply until every token takes hours. Pure.
import { isJsonObject, type JsonObject, type JsonValue } from '../../util/json.ts';
import { engineLimits } from '../../util/limits/engine.ts';
import { refusedSchema, type SchemaParam } from '../schema-bounds.ts';
import { listedValues } from './schema-kinship.ts';
import { kindOf, partsOf, referenceTarget, type SchemaKind } from './schema-node.ts';
import { readPattern } from './schema-pattern.ts';

/** Beginnings that are told apart; of more only the first characters are looked at. */
const mostBeginnings = 64;

/** Values of an `enum` that cost as much as one reading: they are plain text, and most end soon. */
const valuesPerReading = 16;

/** Throws `invalid_schema`. `targets` is what all references lead to, the innermost first. */
export function assertFewReadings(
  root: JsonObject,
  targets: ReadonlyMap<string, JsonObject>,
  param: SchemaParam,
): void {
  const { grammarReadings, grammarPasses, grammarLeftVisits } = engineLimits;
  const counter = new ReadingCounter(root);
  const alike = `has alternatives that begin alike, so that more than ${grammarReadings} readings of an answer may be open`;
  const circle = 'has references that lead round in a circle with nothing between them';
  for (let passes = 0, changed: Change | undefined = 'visits'; changed !== undefined; passes++) {
    changed = undefined;
    for (const [reference, target] of targets) {
      changed = counter.settle(reference, target) ?? changed;
    }
    const { readings, visits } = counter.weigh(root);
    const isEndless = passes > grammarPasses;
    if (readings > grammarReadings || (isEndless && changed === 'readings')) {
      throw refusedSchema('schema', alike, param);
    }
    if (visits > grammarLeftVisits || isEndless) {
      throw refusedSchema('schema', circle, param);
    }
  }
}

/** What of a weight still grows. */
type Change = keyof Weight;

interface Weight {
  readonly readings: number;
  /** Rules that llama.cpp's search for left recursion passes: those that a node begins with. */
  readonly visits: number;
}

class ReadingCounter {
  readonly #root: JsonObject;
  readonly #weights = new Map<string, Weight>();
  readonly #groups = new Map<JsonObject, readonly number[][]>();
  readonly #beginnings = new Map<JsonObject, readonly string[]>();

  constructor(root: JsonObject) {
    this.#root = root;
  }

  /** Weighs what a reference leads to anew, and tells what of it changed. */
  settle(reference: string, target: JsonObject): Change | undefined {
    const before = this.#weights.get(reference);
    const weight = this.weigh(target);
    this.#weights.set(reference, weight);
    if (before?.readings !== weight.readings) {
      return 'readings';
    }
    return before.visits === weight.visits ? undefined : 'visits';
  }

  weigh(schema: JsonValue): Weight {
    if (!isJsonObject(schema)) {
      return { readings: 1, visits: 1 };
    }
    const weights = partsOf(schema).map((part) => this.weigh(part.schema));
    const most = weights.reduce((largest, { readings }) => Math.max(largest, readings), 1);
    switch (kindOf(schema)) {
      case 'ref': {
        const { readings, visits } = this.#weights.get(String(schema['$ref'])) ?? { readings: 1, visits: 1 };
        return { readings, visits: visits + 1 };
      }
      case 'anyOf':
      case 'types': {
        const sums = this.#alike(schema).map((group) =>
          group.reduce((sum, index) => sum + (weights[index]?.readings ?? 0), 0),
        );
        return {
          readings: sums.reduce((largest, sum) => Math.max(largest, sum), most),
          visits: weights.reduce((sum, { visits }) => sum + visits, 1),
        };
      }
      case 'string': {
        const { pattern } = schema;
        return { readings: typeof pattern === 'string' ? readPattern(pattern).readings : 1, visits: 1 };
      }
      case 'enum':
        return {
          readings: Math.ceil((listedValues(schema, this.#root)?.length ?? 1) / valuesPerReading),
          visits: 1,
        };
      default:
        return { readings: most, visits: 1 };
    }
  }

  /** The alternatives that begin like each of them. */
  #alike(schema: JsonObject): readonly number[][] {
    const known = this.#groups.get(schema);
    if (known !== undefined) {
      return known;
    }
    const all = partsOf(schema).map((part) => this.#begin(part.schema));
    const groups = all.map((one) =>
      all.flatMap((other, index) =>
        one.some((text) => other.some((next) => beginAlike(text, next))) ? [index] : [],
      ),
    );
    this.#groups.set(schema, groups);
    return groups;
  }

  /** Texts that an answer can begin with. The shorter, the more others begin alike; an empty one with all. */
  #begin(schema: JsonValue): readonly string[] {
    if (!isJsonObject(schema)) {
      return [''];
    }
    const known = this.#beginnings.get(schema);
    if (known !== undefined) {
      return known;
    }
    // A circle of references begins with anything.
    this.#beginnings.set(schema, ['']);
    const kind = kindOf(schema);
    const inner =
      kind === 'ref'
        ? [referenceTarget(this.#root, schema['$ref']) ?? true]
        : partsOf(schema).map((part) => part.schema);
    const texts = ['ref', 'anyOf', 'types'].includes(kind)
      ? inner.flatMap((one) => this.#begin(one))
      : ownBeginnings(kind, schema, this.#root);
    const found = few(texts);
    this.#beginnings.set(schema, found);
    return found;
  }
}

function beginAlike(one: string, other: string): boolean {
  return one.startsWith(other) || other.startsWith(one);
}

function ownBeginnings(kind: SchemaKind, schema: JsonObject, root: JsonObject): readonly string[] {
  switch (kind) {
    case 'const':
    case 'enum':
      return listedValues(schema, root) ?? [''];
    case 'object':
      return objectBeginnings(schema, root);
    case 'allOf':
      return ['{'];
    case 'array':
    case 'tuple':
      return ['['];
    case 'string':
      return ['"'];
    case 'integer':
    case 'number':
      return ['-', ...'0123456789'];
    case 'boolean':
      return ['true', 'false'];
    case 'null':
      return ['null'];
    default:
      return [''];
  }
}

/** The first that is required comes first, and its values may tell objects apart. */
function objectBeginnings(schema: JsonObject, root: JsonObject): string[] {
  const { properties, required } = schema;
  const names = Array.isArray(required) ? required : [];
  const [first] = Object.entries(isJsonObject(properties) ? properties : {}).filter(([name]) =>
    names.includes(name),
  );
  if (first === undefined) {
    return ['{'];
  }
  const [name, property] = first;
  return (listedValues(property, root) ?? ['']).map((value) => `{${JSON.stringify(name)}:${value}`);
}

function few(texts: readonly string[]): string[] {
  const distinct = [...new Set(texts)];
  return distinct.length > mostBeginnings ? [...new Set(distinct.map((text) => text.slice(0, 1)))] : distinct;
}
