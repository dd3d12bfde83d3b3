// Zod schemas of the small things requests are made of, each with its bound. Lists are the delicate part:
// zod would look at every element and keep every issue, so a hostile body could cost gigabytes.
import { z } from 'zod';
import { isJsonObject, type JsonObject, type JsonValue } from '../util/json.ts';

/** A zod schema for every key of `T`, none left out. Keys that may be absent are `.exactOptional()`. */
export type Shape<T> = { [Key in keyof T]-?: z.ZodType<T[Key]> };

/** A list refused by its length before a look inside, and at its first bad element. */
export function listOf<T>(element: z.ZodType<T>, most: number, least = 0): z.ZodType<T[]> {
  return z.transform((value: unknown, context): T[] => {
    const refuse = (message: string, path: PropertyKey[] = []): never => {
      context.addIssue({ code: 'custom', message, path });
      return z.NEVER;
    };
    if (!Array.isArray(value)) {
      return refuse('a list is expected');
    }
    if (value.length < least || value.length > most) {
      return refuse(`a list of ${least} to ${most} is expected, this one has ${value.length}`);
    }
    const elements: T[] = [];
    for (const [index, item] of value.entries()) {
      const parsed = element.safeParse(item);
      if (!parsed.success) {
        const issue = parsed.error.issues[0];
        return refuse(issue?.message ?? 'not valid', [index, ...(issue?.path ?? [])]);
      }
      elements.push(parsed.data);
    }
    return elements;
  });
}

/** A text of `least` to `most` characters. */
export function textOf(most: number, least = 0): z.ZodType<string> {
  return z.string().min(least).max(most);
}

/** A text of 1 to `most` characters without control characters: fit for a header or a log line. */
export function lineOf(most: number): z.ZodType<string> {
  return z
    .string()
    .min(1)
    .max(most)
    .regex(/^\P{Cc}+$/u, 'control characters are not allowed');
}

/** A finite number from `least` to `most`. */
export function numberIn(least: number, most: number): z.ZodType<number> {
  return z.number().min(least).max(most);
}

/** A whole number from `least` to `most`. */
export function integerIn(least: number, most: number): z.ZodType<number> {
  return z.int().min(least).max(most);
}

/** Token ids: a plain loop, because lists of a million are common and zod is slow at them. */
export function tokenIds(most: number): z.ZodType<readonly number[]> {
  return z.custom<readonly number[]>(
    (value) => Array.isArray(value) && value.length <= most && value.every(isTokenId),
    `a list of at most ${most} token ids is expected`,
  );
}

/** Whether a value can be a token's id: an unsigned 32-bit integer. */
export function isTokenId(value: unknown): boolean {
  return typeof value === 'number' && value >>> 0 === value;
}

/** Base64 with its padding, of at most `most` characters. A megabyte is checked without backtracking. */
export function base64Of(most: number): z.ZodType<string> {
  return z
    .string()
    .min(1)
    .max(most)
    .refine(
      (text) => text.length % 4 === 0 && !/[^A-Za-z0-9+/]/.test(text.replace(/={1,2}$/, '')),
      'base64 is expected',
    );
}

/** A JSON object as parseJson gave it, kept as it is. */
export const jsonObject: z.ZodType<JsonObject> = z.custom<JsonObject>(isJsonObject, {
  error: 'an object is expected',
  abort: true,
});

/** A JSON value as parseJson gave it, of at most `most` bytes of text. */
export function jsonOf<T extends JsonValue>(kind: z.ZodType<T>, mostBytes: number): z.ZodType<T> {
  return kind.refine(
    (value) => Buffer.byteLength(JSON.stringify(value)) <= mostBytes,
    `at most ${mostBytes} bytes of JSON are allowed`,
  );
}
