// What the in-process double says: the events of one choice of a chat or a completion. Pure; pace, slots
// and faults are double-engine.ts's affair.
import type { FinishReason, InferenceEvent, TokenLogprob } from '../../src/inference/events.ts';
import type {
  ChatRequest,
  CompletionRequest,
  OutputFormat,
  TextOrTokens,
} from '../../src/inference/request.ts';
import type { JsonValue } from '../../src/util/json.ts';
import { detokenizeDouble, generateText, instanceOfSchema } from './double-text.ts';

/** The deltas and the finish of choice `index`, at most `room` tokens; adds to `counts` what it generates. */
export function* choiceEvents(
  request: ChatRequest | CompletionRequest,
  index: number,
  room: number,
  counts: { completion: number },
): Generator<InferenceEvent, void, undefined> {
  const { output, sampling } = request;
  const tool = output.toolChoice.type === 'none' ? undefined : output.tools[0];
  if (tool !== undefined && (output.toolChoice.type !== 'auto' || /\bcall\b/.test(promptOf(request)))) {
    counts.completion += 2;
    const json = JSON.stringify(instanceOfSchema(tool.parameters ?? { type: 'object' }));
    yield { type: 'delta', index, toolCall: { call: 0, id: 'call_double', name: tool.name } };
    yield { type: 'delta', index, toolCall: { call: 0, arguments: json } };
    yield { type: 'finish', index, reason: 'tool_calls' };
    return;
  }
  const pieces = generateText({
    prompt: promptOf(request),
    seed: (sampling.temperature === 0 ? 0 : (sampling.seed ?? 0)) + index * 7919,
    maxTokens: Math.min(output.maxTokens ?? Number.POSITIVE_INFINITY, room),
    stop: output.stop,
    schema: schemaOf(output.format),
  });
  let reason: FinishReason | undefined;
  while (reason === undefined) {
    const { value, done } = pieces.next();
    if (done) {
      reason = value;
    } else {
      counts.completion += value.generated;
      if (value.text !== '') {
        const { topLogprobs } = output;
        const logprobs =
          topLogprobs === undefined ? {} : { logprobs: value.ids.map((id) => logprobOf(id, topLogprobs)) };
        yield { type: 'delta', index, text: value.text, tokenIds: value.ids, ...logprobs };
      }
    }
  }
  yield { type: 'finish', index, reason };
}

function schemaOf(format: OutputFormat): JsonValue | undefined {
  return format.type === 'schema' ? format.schema : format.type === 'json' ? { type: 'object' } : undefined;
}

function logprobOf(id: number, alternatives: number): TokenLogprob {
  const one = (token: string, rank: number) => ({
    token,
    bytes: [...Buffer.from(token)],
    logprob: -0.25 * (rank + 1),
  });
  const token = detokenizeDouble([id]);
  const top = Array.from({ length: alternatives }, (_, rank) =>
    one(rank === 0 ? token : ` other${rank}`, rank),
  );
  return { ...one(token, 0), top };
}

/** The text of a prompt: every message's, in order. */
export function promptOf(request: ChatRequest | CompletionRequest): string {
  if (request.kind === 'completion') {
    return textOf(request.prompt);
  }
  return request.messages
    .map(({ content }) => content.map((part) => (part.type === 'text' ? part.text : '[media]')).join(''))
    .join('\n');
}

/** An input as text. */
export function textOf(input: TextOrTokens): string {
  return typeof input === 'string' ? input : detokenizeDouble(input);
}
