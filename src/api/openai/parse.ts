// From JSON of a stranger to a typed value: zod's verdict as one error that names the field at fault.
import { z } from 'zod';
import { MeshnodeError } from '../../util/errors.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../util/json.ts';

type Path = readonly PropertyKey[];

/** Longest field name repeated to the caller, characters. */
const paramLength = 200;

/** Parses a body. Throws `invalid_request` with `param`. */
export function parseBody<Output>(schema: z.ZodType<Output>, body: JsonObject): Output {
  const result = schema.safeParse(body);
  if (result.success) {
    return result.data;
  }
  const issue = result.error.issues[0];
  throw invalid(issue?.path ?? [], issue?.message ?? 'has the wrong shape');
}

/** The error of a field that has the wrong value; `path` as in `['messages', 0, 'role']`. */
export function invalid(path: Path, problem: string): MeshnodeError {
  const param = paramName(path);
  return new MeshnodeError('invalid_request', `\`${param}\`: ${problem}`, { param });
}

/** Stands for a value that must be there and is not. */
export function missing(path: Path): never {
  throw invalid(path, 'is missing');
}

/** The error of a value that is lawful in OpenAI's API and not supported here. */
export function unsupported(path: Path, problem: string): MeshnodeError {
  const param = paramName(path);
  return new MeshnodeError('unsupported_parameter', `\`${param}\`: ${problem}`, { param });
}

/** The body as an object without the fields that are null: in OpenAI's API null means absent. */
export function requestObject(body: JsonValue): JsonObject {
  if (!isJsonObject(body)) {
    throw new MeshnodeError('invalid_request', 'The body is not a JSON object.');
  }
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null));
}

/** Without the fields that are undefined: an absent field stays absent. */
export function defined<Fields extends object>(
  fields: {
    [Name in keyof Fields]: Fields[Name] | undefined;
  },
): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Fields;
}

/** `text` for a string and `other` for the rest: unlike a union it can say what is wrong inside. */
export function textOr<Text extends string, Other>(
  text: z.ZodType<Text>,
  other: z.ZodType<Other>,
): z.ZodType<Text | Other> {
  return z.transform((value: unknown, context): Text | Other => {
    return typeof value === 'string'
      ? resultOf(text.safeParse(value), context)
      : resultOf(other.safeParse(value), context);
  });
}

/** What an inner schema made of a value; its first complaint becomes one of `context`. */
export function resultOf<T>(parsed: z.ZodSafeParseResult<T>, context: z.RefinementCtx): T {
  if (parsed.success) {
    return parsed.data;
  }
  const issue = parsed.error.issues[0];
  context.addIssue({
    code: 'custom',
    message: issue?.message ?? 'not valid',
    path: [...(issue?.path ?? [])],
  });
  return z.NEVER;
}

/** A field as the client wrote it, e.g. `messages[0].role`. */
function paramName(path: Path): string {
  return z.core.toDotPath(path).slice(0, paramLength);
}
