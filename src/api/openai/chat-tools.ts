// Tools, tool choice and output format of a chat body, deprecated forms included, as the contract has them.
import { z } from 'zod';
import { jsonObject, jsonOf, lineOf, listOf, textOf } from '../../inference/bounded-schemas.ts';
import type { OutputFormat, Tool, ToolChoice } from '../../inference/request.ts';
import type { JsonObject } from '../../util/json.ts';
import { requestLimits as limits } from '../../util/limits/inference.ts';
import { defined, invalid, missing, textOr, unsupported } from './parse.ts';

const name = lineOf(limits.nameLength);
const schema: z.ZodType<JsonObject> = jsonOf(jsonObject, limits.schemaBytes);
const namedBody = z.object({ name });

const functionBody = z.object({
  name,
  description: textOf(limits.textLength).nullish(),
  parameters: schema.nullish(),
  strict: z.boolean().nullish(),
});

const choiceBody = z.object({
  type: z.string(),
  function: namedBody.nullish(),
  allowed_tools: z
    .object({
      mode: z.enum(['auto', 'required']),
      tools: listOf(z.object({ function: namedBody }), limits.tools),
    })
    .nullish(),
});

/** Fields of a chat body that say what the answer may look like. */
export const toolShape = {
  tools: listOf(z.object({ type: z.string(), function: functionBody.nullish() }), limits.tools).optional(),
  tool_choice: textOr(z.enum(['none', 'auto', 'required']), choiceBody).optional(),
  functions: listOf(functionBody, limits.tools).optional(),
  function_call: textOr(z.enum(['none', 'auto']), namedBody).optional(),
  response_format: z
    .object({
      type: z.string(),
      json_schema: z
        .object({ name: name.nullish(), schema: schema.nullish(), strict: z.boolean().nullish() })
        .nullish(),
    })
    .optional(),
};

type ToolBody = z.infer<z.ZodObject<typeof toolShape>> & { readonly grammar?: string | undefined };
type FunctionBody = z.infer<typeof functionBody>;

/** The tools offered, and which of them the model may or must call. */
export function readTools(body: ToolBody): { tools: Tool[]; toolChoice: ToolChoice } {
  const offered = offeredTools(body);
  const names = new Set(offered.map((tool) => tool.name));
  if (names.size < offered.length) {
    throw invalid(['tools'], 'two of them have one name');
  }
  const { allowed, toolChoice } = readChoice(body);
  const tools = allowed === undefined ? offered : offered.filter((tool) => allowed.has(tool.name));
  if (toolChoice.type === 'required' && tools.length === 0) {
    throw invalid(['tool_choice'], 'a call is required, but there are no tools');
  }
  if (toolChoice.type === 'function' && !names.has(toolChoice.name)) {
    throw invalid(['tool_choice'], 'there is no tool of this name');
  }
  return { tools, toolChoice };
}

function offeredTools({ tools, functions }: ToolBody): Tool[] {
  if (tools === undefined) {
    return (functions ?? []).map(readFunction);
  }
  return tools.map((tool, index) => {
    if (tool.type !== 'function') {
      throw unsupported(['tools', index, 'type'], 'only functions are known');
    }
    return readFunction(tool.function ?? missing(['tools', index, 'function']));
  });
}

function readFunction({ name: functionName, description, parameters, strict }: FunctionBody): Tool {
  return defined<Tool>({
    name: functionName,
    description: description ?? undefined,
    parameters: parameters ?? undefined,
    strict: strict ?? undefined,
  });
}

function readChoice(body: ToolBody): { allowed?: ReadonlySet<string>; toolChoice: ToolChoice } {
  const choice = body.tool_choice ?? legacyChoice(body) ?? 'auto';
  if (typeof choice === 'string') {
    return { toolChoice: { type: choice } };
  }
  switch (choice.type) {
    case 'function':
      return {
        toolChoice: {
          type: 'function',
          name: (choice.function ?? missing(['tool_choice', 'function'])).name,
        },
      };
    case 'allowed_tools': {
      const { mode, tools } = choice.allowed_tools ?? missing(['tool_choice', 'allowed_tools']);
      return {
        allowed: new Set(tools.map((tool) => tool.function.name)),
        toolChoice: { type: mode },
      };
    }
    default:
      throw unsupported(['tool_choice', 'type'], 'only function and allowed_tools are known');
  }
}

function legacyChoice({ function_call: call }: ToolBody): ToolBody['tool_choice'] {
  return typeof call === 'object' ? { type: 'function', function: call } : call;
}

/** The shape of the answer. Two ways to say it at once are an error. */
export function readFormat({ response_format: format, grammar, tools, functions }: ToolBody): OutputFormat {
  if (grammar !== undefined) {
    if (format !== undefined && format.type !== 'text') {
      throw invalid(['grammar'], 'and `response_format` cannot both rule the answer');
    }
    if ((tools ?? functions ?? []).length > 0) {
      throw invalid(['grammar'], 'leaves the model no way to call the tools');
    }
    return { type: 'grammar', grammar };
  }
  switch (format?.type ?? 'text') {
    case 'text':
      return { type: 'text' };
    case 'json_object':
      return { type: 'json' };
    case 'json_schema': {
      const path = ['response_format', 'json_schema'];
      const wanted = format?.json_schema ?? missing(path);
      return {
        type: 'schema',
        name: wanted.name ?? 'response',
        schema: wanted.schema ?? missing([...path, 'schema']),
        strict: wanted.strict ?? false,
      };
    }
    default:
      throw unsupported(['response_format', 'type'], 'only text, json_object and json_schema are known');
  }
}
