// What a JSON schema would cost llama.cpp, which makes a grammar of it by recursion and without bounds: circles that
// never end, repetitions that fill the memory, alternatives that multiply. Reads any schema as llama.cpp does. Pure.
import { isJsonObject, type JsonObject, type JsonValue } from '../../util/json.ts';
import { engineLimits } from '../../util/limits/engine.ts';
import { ruleElements } from '../grammar-rules.ts';
import { refusedSchema, type SchemaParam } from '../schema-bounds.ts';
import { hazardOf, optionalNames } from './schema-hazards.ts';
import { kindOf, partsOf, referenceTarget, type SchemaPart } from './schema-node.ts';
import { readPattern } from './schema-pattern.ts';
import { assertFewReadings } from './schema-readings.ts';

/** Throws `invalid_schema` that says which bound is exceeded. */
export function assertBearableSchema(schema: JsonValue, param: SchemaParam): void {
  if (isJsonObject(schema)) {
    const targets = new CostCounter(schema, param).count();
    assertFewReadings(schema, targets, param);
  }
}

interface Place {
  readonly path: string;
  /** Characters of the name of its rule, which all rules made for it carry. */
  readonly nameChars: number;
  readonly level: number;
}

class CostCounter {
  readonly #root: JsonObject;
  readonly #param: SchemaParam;
  readonly #targets = new Map<string, JsonObject>();
  #schemas = 0;
  #elements = 0;

  constructor(root: JsonObject, param: SchemaParam) {
    this.#root = root;
    this.#param = param;
  }

  /** What the references lead to, the innermost first. */
  count(): ReadonlyMap<string, JsonObject> {
    this.#visit(this.#root, { path: 'schema', nameChars: 4, level: 1 });
    return this.#targets;
  }

  #refuse(path: string, why: string): never {
    throw refusedSchema(path, why, this.#param);
  }

  #visit(schema: JsonValue, place: Place): void {
    if (!isJsonObject(schema)) {
      return;
    }
    const { schemaRules, schemaLevels, grammarElements } = engineLimits;
    const hazard = hazardOf(schema);
    if (hazard !== undefined) {
      this.#refuse(place.path, hazard);
    }
    this.#schemas++;
    this.#elements += elementsOf(schema, place.nameChars);
    if (place.level > schemaLevels) {
      this.#refuse(
        'schema',
        `nests deeper than ${schemaLevels} levels, or has an allOf that leads to itself`,
      );
    }
    if (this.#schemas > schemaRules) {
      this.#refuse('schema', `with its references and lists of types has more than ${schemaRules} schemas`);
    }
    if (this.#elements > grammarElements) {
      this.#refuse(
        place.path,
        `brings the lengths and repetitions to more than the ${grammarElements} elements of a grammar that are allowed`,
      );
    }
    const kind = kindOf(schema);
    if (kind === 'ref') {
      this.#follow(String(schema['$ref']), place);
    }
    for (const part of partsOf(schema)) {
      this.#visit(part.schema, within(place, part));
      // The properties of what an allOf names are written out anew at each place.
      const reference = isJsonObject(part.schema) ? part.schema['$ref'] : undefined;
      if (kind === 'allOf' && reference !== undefined) {
        this.#inline(reference, within(place, part));
      }
    }
  }

  /** A reference is built once. */
  #follow(reference: string, place: Place): void {
    const target = referenceTarget(this.#root, reference);
    if (target !== undefined && !this.#targets.has(reference)) {
      // Reserved, so that a circle ends here; set again at its end, for the order.
      this.#targets.set(reference, target);
      this.#visit(target, { ...place, nameChars: reference.length + 3, level: place.level + 1 });
      this.#targets.delete(reference);
      this.#targets.set(reference, target);
    }
  }

  #inline(reference: JsonValue, place: Place): void {
    const passed = new Set<JsonValue>();
    let target: JsonObject | undefined = referenceTarget(this.#root, reference);
    for (let next = target?.['$ref']; next !== undefined; next = target?.['$ref']) {
      if (passed.has(next)) {
        this.#refuse(place.path, 'has a $ref that leads to itself');
      }
      passed.add(next);
      target = referenceTarget(this.#root, next);
    }
    for (const part of target === undefined ? [] : partsOf(target)) {
      this.#visit(part.schema, within(place, part));
    }
  }
}

function within({ path, nameChars, level }: Place, part: SchemaPart): Place {
  return { path: path + part.path, nameChars: nameChars + part.ruleName.length + 1, level: level + 1 };
}

/** Elements of the rules that a node gets, without those of its parts. */
function elementsOf(schema: JsonObject, nameChars: number): number {
  const rule = ruleElements + Math.ceil(nameChars / 8);
  switch (kindOf(schema)) {
    case 'const':
      return rule + JSON.stringify(schema['const']).length;
    case 'enum':
      return rule + JSON.stringify(schema['enum']).length;
    case 'object': {
      const { properties } = schema;
      const names = Object.keys(isJsonObject(properties) ? properties : {});
      const optional = optionalNames(schema).length;
      // What may be left out is written in a rule for each that follows, with copies of all names.
      return names.reduce((sum, name) => sum + 4 * rule + 4 * name.length, rule + optional ** 3 / 100);
    }
    case 'array':
      return rule + times(schema, ['minItems', 'maxItems']) * (rule + 4);
    case 'string': {
      const { pattern } = schema;
      const repeated = times(schema, ['minLength', 'maxLength']) * (rule + 3);
      const read = typeof pattern === 'string' ? readPattern(pattern).elements : 0;
      return rule + repeated + (read * rule) / ruleElements;
    }
    default:
      return rule;
  }
}

/** Times that llama.cpp writes something out: what is above its own bound it refuses or takes for unlimited. */
function times(schema: JsonObject, keywords: readonly string[]): number {
  const counts = keywords.map((keyword) => schema[keyword]);
  return Math.min(2000, Math.max(0, ...counts.filter((count) => typeof count === 'number')));
}
