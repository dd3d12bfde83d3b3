// The fields of a request's `extra` that llama-server is given: those that shape this one answer, within bounds. What
// chooses slots, files, adapters, cached state or debug output never gets here. Pure.
import { MeshnodeError } from '../../util/errors.ts';
import type { JsonObject, JsonValue } from '../../util/json.ts';
import { engineLimits } from '../../util/limits/engine.ts';

const samplingFields = [
  ...[
    'typical_p',
    'top_n_sigma',
    'mirostat',
    'mirostat_tau',
    'mirostat_eta',
    'dynatemp_range',
    'dynatemp_exponent',
  ],
  ...[
    'repeat_last_n',
    'xtc_probability',
    'xtc_threshold',
    'dry_multiplier',
    'dry_base',
    'dry_allowed_length',
  ],
  ...[
    'dry_penalty_last_n',
    'dry_sequence_breakers',
    'adaptive_target',
    'adaptive_decay',
    'samplers',
    'min_keep',
  ],
];

const templateFields = [
  'chat_template_kwargs',
  'reasoning_effort',
  'reasoning_format',
  'thinking_budget_tokens',
];

/** Every field that is heeded. */
export const heededExtraFields: ReadonlySet<string> = new Set([...samplingFields, ...templateFields]);

/** What of `extra` shapes how tokens are drawn. Throws `invalid_request` for what would cost the server its memory. */
export function samplingExtra(extra: JsonObject, contextTokens: number): JsonObject {
  const kept = Object.entries(extra).filter(([name]) => samplingFields.includes(name));
  // The server reserves memory for as many tokens as these name, and no more than a context are ever there.
  for (const name of ['repeat_last_n', 'dry_penalty_last_n']) {
    const tokens = extra[name];
    if (typeof tokens === 'number' && tokens > contextTokens) {
      throw new MeshnodeError(
        'invalid_request',
        `\`${name}\` is more than the context of ${contextTokens} tokens.`,
        {
          param: name,
        },
      );
    }
  }
  const breakers = extra['dry_sequence_breakers'];
  if (Array.isArray(breakers) && breakers.length > engineLimits.dryBreakers) {
    throw new MeshnodeError(
      'invalid_request',
      `\`dry_sequence_breakers\` has more than ${engineLimits.dryBreakers} entries.`,
      {
        param: 'dry_sequence_breakers',
      },
    );
  }
  assertSamplersOnce(extra['samplers']);
  return Object.fromEntries(kept);
}

/** Each takes memory and time for every token, however often it is named. */
function assertSamplersOnce(samplers: JsonValue | undefined): void {
  const names = typeof samplers === 'string' ? [...samplers] : Array.isArray(samplers) ? samplers : [];
  if (new Set(names).size < names.length || names.length > engineLimits.samplers) {
    throw new MeshnodeError('invalid_request', '`samplers` names one twice, or more than there are.', {
      param: 'samplers',
    });
  }
}

/** What of `extra` shapes how the messages become a prompt, and how the answer is read. */
export function templateExtra(extra: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(extra).filter(([name]) => templateFields.includes(name)));
}
