// One demand of a JSON schema that llama.cpp would drop, and the schema without it.
import type { JsonObject } from '../../util/json.ts';

export interface SchemaFault {
  /** Ends a sentence that begins with where the node is. */
  readonly why: string;
  /** The node without the demand. */
  readonly repaired: JsonObject;
}

/** The fault of having a keyword. */
export function without(schema: JsonObject, keyword: string, why: string): SchemaFault {
  const { [keyword]: _dropped, ...repaired } = schema;
  return { why, repaired };
}
