// llama.cpp names the rules of a grammar after the properties they are for, and takes a rule that it finds under a name
// for the one it wants: a property can be called so that another one is held to its schema. Pure.
import { isJsonObject, type JsonObject } from '../../util/json.ts';
import { refusedSchema, type SchemaParam } from '../schema-bounds.ts';
import { kindOf, partsOf } from './schema-node.ts';

/** Rules that come with llama.cpp, of which names with other signs become the same. */
const builtIn = [
  'decimal-part',
  'integral-part',
  'date-time',
  'date-string',
  'time-string',
  'date-time-string',
];

/** What the names of all rules for definitions begin with, before their signs become dashes. */
const definitions = 'ref/$defs/';

/** Throws `invalid_schema` for a property whose rule would be taken for another. References lead into `$defs`. */
export function assertDistinctRules(schema: JsonObject, param: SchemaParam): void {
  assertDistinct(schema, '', param);
  const { $defs } = schema;
  for (const [name, definition] of Object.entries(isJsonObject($defs) ? $defs : {})) {
    if (isJsonObject(definition)) {
      assertDistinct(definition, `${definitions}${name}`, param);
    }
  }
}

function assertDistinct(schema: JsonObject, name: string, param: SchemaParam): void {
  const rule = name.replaceAll(/[^a-zA-Z0-9-]+/g, '-');
  const isOwn = rule === name;
  const isDefinition = name.startsWith(definitions);
  if ((builtIn.includes(rule) && !isOwn) || (rule.startsWith('ref-defs-') && !isDefinition)) {
    throw refusedSchema(
      'schema',
      `has a property called so that this engine takes it for its own '${rule}'`,
      param,
    );
  }
  const unions = kindOf(schema) === 'anyOf' && name === '' ? 'alternative-' : '';
  for (const part of partsOf(schema)) {
    if (isJsonObject(part.schema)) {
      const prefix = name === '' ? unions : `${name}-`;
      assertDistinct(part.schema, prefix + part.ruleName, param);
    }
  }
}
