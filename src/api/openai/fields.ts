// What becomes of request fields that our schemas do not read, with the reason: one table for every
// OpenAI surface. A field in neither a schema nor this table is dropped and named to the caller.
import { MeshnodeError } from '../../util/errors.ts';
import type { JsonObject, JsonValue } from '../../util/json.ts';

type Verdict =
  /** Passed to the engine, which uses it if it is on its own list of harmless fields. */
  | 'engine'
  /** A hint that changes nothing about the answer: accepted, without effect. */
  | 'hint'
  /** Leaving it out would change what the answer means: 400. */
  | 'unsupported'
  /** It would choose slots, files, adapters, debug output or limits of the serving machine: 400. */
  | 'forbidden';

interface FieldRule {
  readonly verdict: Verdict;
  readonly reason: string;
  /** Values that mean the same as leaving the field out. */
  readonly harmless?: (value: JsonValue) => boolean;
}

const rules = new Map<string, FieldRule>();

function rule(verdict: Verdict, reason: string, names: string, harmless?: FieldRule['harmless']): void {
  for (const name of names.split(' ')) {
    rules.set(name, harmless === undefined ? { verdict, reason } : { verdict, reason, harmless });
  }
}

const isFalse = (value: JsonValue): boolean => value === false;
const isEmpty = (value: JsonValue): boolean => value === '' || (Array.isArray(value) && value.length === 0);

rule('engine', 'It shapes how tokens are drawn.', 'typical_p tfs_z top_a top_n_sigma min_keep min_tokens');
rule('engine', 'It shapes how tokens are drawn.', 'mirostat mirostat_tau mirostat_eta');
rule('engine', 'It shapes how tokens are drawn.', 'dynatemp_range dynatemp_exponent');
rule('engine', 'It shapes how tokens are drawn.', 'xtc_probability xtc_threshold');
rule('engine', 'It shapes how tokens are drawn.', 'adaptive_target adaptive_decay samplers');
rule('engine', 'It penalises repetition.', 'repeat_last_n length_penalty no_repeat_ngram_size');
rule('engine', 'It penalises repetition.', 'dry_multiplier dry_base dry_allowed_length');
rule('engine', 'It penalises repetition.', 'dry_penalty_last_n dry_sequence_breakers');
rule('engine', 'It fills variables of the chat template.', 'chat_template_kwargs reasoning_effort verbosity');
rule('engine', 'It bounds or formats the reasoning.', 'reasoning_format thinking_budget_tokens');

rule('hint', 'It labels the request for the provider.', 'metadata service_tier');
rule('hint', 'Nothing is stored here.', 'store prompt_cache_retention prompt_cache_options');
rule('hint', 'It only speeds up some engines.', 'prediction cache_prompt');

rule('unsupported', 'Only text is generated.', 'audio');
rule('unsupported', 'No model searches the web.', 'web_search_options');
rule('unsupported', 'Nothing moderates the answer.', 'moderation');
rule('unsupported', 'Text is not filled in between a prefix and a suffix.', 'suffix', isEmpty);
rule('unsupported', 'Use `response_format`.', 'json_schema guided_json guided_regex guided_choice');
rule('unsupported', 'Use `grammar` or `response_format`.', 'guided_grammar structured_outputs regex');
rule('unsupported', 'Answers are not searched for with beams.', 'use_beam_search', isFalse);
rule('unsupported', 'Use `logprobs` and `top_logprobs`.', 'n_probs prompt_logprobs');

rule('forbidden', 'The serving node chooses the slot.', 'id_slot slot_id n_cache_reuse n_discard n_keep');
rule('forbidden', 'Adapters belong to the serving node.', 'lora lora_path control_vector');
rule('forbidden', 'Files belong to the serving node.', 'model_path filename mmproj image_data');
rule('forbidden', 'The template belongs to the model.', 'chat_template');
rule('forbidden', 'Use `max_tokens`: an answer has an end.', 'n_predict');
rule('forbidden', 'An answer has an end.', 'ignore_eos', isFalse);
rule('forbidden', 'The limits of time belong to the serving node.', 't_max_predict_ms t_max_prompt_ms');
rule('forbidden', 'It is debug output of the engine.', 'timings_per_token return_progress', isFalse);
rule('forbidden', 'It is debug output of the engine.', 'return_tokens post_sampling_probs verbose', isFalse);
rule('forbidden', 'It is debug output of the engine.', 'response_fields __verbose');

/** The fields of a body that its schema does not read, sorted by what becomes of them. */
export interface OtherFields {
  /** For the engine. */
  readonly extra: JsonObject;
  /** Dropped, to be named in `x-meshnode-ignored`. */
  readonly ignored: readonly string[];
}

/** Throws `unsupported_parameter` or `forbidden_parameter` for a field that must not be dropped silently. */
export function sortOtherFields(body: JsonObject, known: ReadonlySet<string>): OtherFields {
  const extra: JsonObject = {};
  const ignored: string[] = [];
  for (const [name, value] of Object.entries(body)) {
    const found = known.has(name) || value === null ? undefined : rules.get(name);
    if (found === undefined) {
      if (!known.has(name) && value !== null) {
        ignored.push(name);
      }
    } else if (found.verdict === 'engine') {
      extra[name] = value;
    } else if (found.verdict !== 'hint' && found.harmless?.(value) !== true) {
      throw refusal(name, found);
    }
  }
  return { extra, ignored };
}

function refusal(name: string, { verdict, reason }: FieldRule): MeshnodeError {
  return verdict === 'forbidden'
    ? new MeshnodeError('forbidden_parameter', `\`${name}\` is not for callers to set. ${reason}`, {
        param: name,
      })
    : new MeshnodeError('unsupported_parameter', `\`${name}\` is not supported. ${reason}`, { param: name });
}
