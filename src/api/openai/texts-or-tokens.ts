// The four forms of a prompt or an embedding input: a text, several, token ids, several lists of them.
import { z } from 'zod';
import { listOf, textOf, tokenIds } from '../../inference/bounded-schemas.ts';
import type { TextOrTokens } from '../../inference/request.ts';
import { requestLimits as limits } from '../../util/limits/inference.ts';
import { resultOf, textOr } from './parse.ts';

type OneOrMore = [TextOrTokens, ...TextOrTokens[]];

const text = textOf(limits.textLength);
const one = textOr(text, tokenIds(limits.promptTokens));

/** All four forms as a list of one to `most` inputs. A list of numbers is one input. */
export function textsOrTokens(most: number): z.ZodType<OneOrMore> {
  const several = listOf(one, most, 1).transform((inputs) => inputs as OneOrMore);
  return z.transform((value: unknown, context): OneOrMore => {
    const single = typeof value === 'string' || (Array.isArray(value) && typeof value[0] === 'number');
    const parsed = single
      ? one.transform((input): OneOrMore => [input]).safeParse(value)
      : several.safeParse(value);
    return resultOf(parsed, context);
  });
}
