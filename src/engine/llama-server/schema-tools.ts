// The parameters of tools as schemas that llama.cpp gets: within the schema of one call, where their references have
// to lead to its root, and as they are, where it makes grammars of them itself. Pure.
import type { Tool } from '../../inference/request.ts';
import type { JsonObject } from '../../util/json.ts';
import { assertSmallSchema } from '../schema-bounds.ts';
import { mapSchema, withDefinitions } from './schema-check.ts';
import { assertBearableSchema } from './schema-cost.ts';
import { assertDistinctRules } from './schema-rule-names.ts';

/** Throws `invalid_schema` for parameters that could end or fill the model's process, whether enforced or not. */
export function assertBearableTools(tools: readonly Tool[]): void {
  for (const { parameters } of tools) {
    if (parameters !== undefined) {
      assertSmallSchema(parameters, 'tools');
      assertBearableSchema(parameters, 'tools');
    }
  }
  // The server makes one grammar of all of them.
  assertBearableSchema(
    joined(tools, ({ parameters = anyArguments }) => parameters),
    'tools',
  );
}

/**
 * The schema of a call of one of the tools. The name comes first, so that a call can be told of before its arguments
 * are complete. Of a tool that is not strict, what cannot be enforced is left out; of a strict one it is refused with
 * `invalid_schema`.
 */
export function forcedCallSchema(tools: readonly Tool[]): JsonObject {
  assertBearableTools(tools);
  const definitions: JsonObject = {};
  const calls = joined(tools, ({ parameters = anyArguments, strict = false }, index) => {
    const mapped = mapSchema(parameters, { lenient: !strict, param: 'tools', prefix: `tool${index}def` });
    Object.assign(definitions, mapped.definitions);
    return Object.keys(mapped.schema).length === 0 ? anyArguments : mapped.schema;
  });
  const whole = withDefinitions(calls, definitions);
  assertBearableSchema(whole, 'tools');
  assertDistinctRules(whole, 'tools');
  return whole;
}

const anyArguments: JsonObject = { type: 'object' };

function joined(tools: readonly Tool[], argumentsOf: (tool: Tool, index: number) => JsonObject): JsonObject {
  return {
    anyOf: tools.map((tool, index) => ({
      type: 'object',
      properties: { name: { const: tool.name }, arguments: argumentsOf(tool, index) },
      required: ['name', 'arguments'],
      additionalProperties: false,
    })),
  };
}
