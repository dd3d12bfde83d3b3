// How large a JSON schema may be whose grammar an engine is to build, and how one is refused. Pure.
import { MeshnodeError } from '../util/errors.ts';
import type { JsonValue } from '../util/json.ts';
import { engineLimits } from '../util/limits/engine.ts';

/**
 * Refuses schemas whose grammar would take the process seconds to build. Counting all objects counts every
 * schema in it, as each is mapped once.
 */
export function assertSmallSchema(schema: JsonValue, param?: SchemaParam): void {
  let left: number = engineLimits.schemaNodes;
  const count = (value: JsonValue): void => {
    if (Array.isArray(value) && value.length > engineLimits.schemaAlternatives) {
      throw refusedSchema(
        'schema',
        `has a list of more than ${engineLimits.schemaAlternatives} entries`,
        param,
      );
    }
    if (typeof value === 'object' && value !== null) {
      left--;
      if (left < 0) {
        throw refusedSchema('schema', `holds more than ${engineLimits.schemaNodes} schemas and lists`, param);
      }
      Object.values(value).forEach(count);
    }
  };
  count(schema);
}

/** The part of a request that a schema came in. */
export type SchemaParam = 'response_format' | 'tools';

/** `invalid_schema`: what is wrong, and where. */
export function refusedSchema(
  path: string,
  why: string,
  param: SchemaParam = 'response_format',
): MeshnodeError {
  return new MeshnodeError('invalid_schema', `The JSON schema is refused: ${path} ${why}.`, { param });
}
