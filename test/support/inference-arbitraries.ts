// Random requests, events and lawful answers for property tests, all within the limits.
import fc from 'fast-check';
import type { DeltaEvent, InferenceEvent, TokenLogprob } from '../../src/inference/events.ts';
import {
  type ChatMessage,
  type ContentPart,
  type InferenceRequest,
  type OutputConstraints,
  plainOutput,
  type RequestEnvelope,
  type Sampling,
} from '../../src/inference/request.ts';
import { errorTable, isErrorCode } from '../../src/util/errors.ts';
import type { JsonObject } from '../../src/util/json.ts';

/** Any text that UTF-8 can carry. */
const text = fc.string({ unit: 'binary', maxLength: 30 });
const someText = fc.string({ unit: 'binary', minLength: 1, maxLength: 30 });
const line = fc.stringMatching(/^[ -~äßλ漢🙂]{1,20}$/u);
/** Without -0, which JSON does not know. */
const numberIn = (min: number, max: number) => fc.double({ min, max, noNaN: true }).map((value) => value + 0);
const finite = fc.double({ noNaN: true, noDefaultInfinity: true });
const tokenId = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const tokenIds = fc.array(tokenId, { maxLength: 8 });
const jsonObject = fc
  .dictionary(line, fc.jsonValue({ maxDepth: 3 }), { maxKeys: 3 })
  .map((object) => JSON.parse(JSON.stringify(object)) as JsonObject);

const envelope: fc.Arbitrary<RequestEnvelope> = fc.record(
  {
    requestId: fc.stringMatching(/^[!-~]{1,40}$/),
    model: fc.record({ name: line, digest: fc.stringMatching(/^[0-9a-f]{64}$/) }, { requiredKeys: ['name'] }),
    sessionKey: someText,
    priority: fc.constantFrom('interactive', 'batch'),
    timeoutMs: fc.integer({ min: 1, max: 86_400_000 }),
    hops: fc.integer({ min: 0, max: 2 }),
    extra: jsonObject,
  },
  { requiredKeys: ['requestId', 'model', 'priority', 'hops', 'extra'] },
);

const sampling: fc.Arbitrary<Sampling> = fc.record(
  {
    temperature: numberIn(0, 10),
    topP: numberIn(0, 1),
    topK: fc.integer({ min: -1, max: 1000 }),
    minP: numberIn(0, 1),
    seed: fc.maxSafeInteger(),
    frequencyPenalty: numberIn(-2, 2),
    presencePenalty: numberIn(-2, 2),
    repeatPenalty: numberIn(0, 10),
    logitBias: fc.array(fc.tuple(tokenId, numberIn(-100, 100)), { maxLength: 4 }),
  },
  { requiredKeys: [] },
);

const toolCalls = fc.array(fc.record({ id: line, name: line, arguments: text }), {
  minLength: 1,
  maxLength: 3,
});

const base64 = fc
  .uint8Array({ minLength: 1, maxLength: 20 })
  .map((bytes) => Buffer.from(bytes).toString('base64'));
const audio = fc.record({ mediaType: fc.constant('audio/wav'), base64 });

const content: fc.Arbitrary<ContentPart[]> = fc.array(
  fc.oneof(
    fc.record({ type: fc.constant('text' as const), text }),
    fc.record({
      type: fc.constant('image' as const),
      image: fc.record({ mediaType: fc.constant('image/svg+xml'), base64 }),
    }),
    fc.record({ type: fc.constant('audio' as const), audio }),
  ),
  { maxLength: 3 },
);

const message: fc.Arbitrary<ChatMessage> = fc.oneof(
  fc.record(
    { role: fc.constantFrom('system' as const, 'user' as const), content, name: line },
    { requiredKeys: ['role', 'content'] },
  ),
  fc.record(
    { role: fc.constant('assistant' as const), content, reasoning: text, toolCalls, name: line },
    { requiredKeys: ['role', 'content'] },
  ),
  fc.record({ role: fc.constant('tool' as const), content, toolCallId: line }),
);

const tools = fc.uniqueArray(
  fc.record(
    { name: line, description: text, parameters: jsonObject, strict: fc.boolean() },
    { requiredKeys: ['name'] },
  ),
  { selector: (tool) => tool.name, maxLength: 3 },
);

const format: fc.Arbitrary<OutputConstraints['format']> = fc.oneof(
  fc.record({ type: fc.constantFrom('text' as const, 'json' as const) }),
  fc.record({ type: fc.constant('schema' as const), name: line, schema: jsonObject, strict: fc.boolean() }),
);

const output: fc.Arbitrary<OutputConstraints> = fc
  .record(
    {
      maxTokens: fc.integer({ min: 1, max: 1_048_576 }),
      stop: fc.array(someText, { maxLength: 3 }),
      choices: fc.integer({ min: 1, max: 4 }),
      format,
      tools,
      toolChoice: fc.constantFrom({ type: 'auto' as const }, { type: 'none' as const }),
      parallelToolCalls: fc.boolean(),
      topLogprobs: fc.integer({ min: 0, max: 20 }),
      echo: fc.constant(false),
    },
    {
      requiredKeys: ['stop', 'choices', 'format', 'tools', 'toolChoice', 'parallelToolCalls', 'echo'],
    },
  )
  .chain((constraints: OutputConstraints): fc.Arbitrary<OutputConstraints> => {
    const names = constraints.tools.map((tool) => tool.name);
    return names.length === 0
      ? fc.constant(constraints)
      : fc.constantFrom(...names).map((name) => ({
          ...constraints,
          toolChoice: { type: 'function' as const, name },
        }));
  });

const textOrTokens = fc.oneof(text, tokenIds);

const anyRequest: fc.Arbitrary<InferenceRequest> = fc.oneof(
  fc
    .tuple(envelope, fc.array(message, { minLength: 1, maxLength: 5 }), sampling, output)
    .map(([common, messages, drawn, asked]) => ({
      ...common,
      kind: 'chat' as const,
      messages,
      sampling: drawn,
      output: asked,
    })),
  fc
    .tuple(envelope, textOrTokens, sampling, output, fc.boolean())
    .map(([common, prompt, drawn, asked, echo]) => ({
      ...common,
      kind: 'completion' as const,
      prompt,
      sampling: drawn,
      output: { ...asked, tools: [], toolChoice: plainOutput.toolChoice, echo },
    })),
  fc
    .tuple(
      envelope,
      fc.array(textOrTokens, { minLength: 1, maxLength: 5 }),
      fc.integer({ min: 1, max: 4096 }),
    )
    .map(([common, inputs, dimensions]) => ({ ...common, kind: 'embedding' as const, inputs, dimensions })),
  fc
    .tuple(envelope, text, fc.array(text, { minLength: 1, maxLength: 5 }))
    .map(([common, query, documents]) => ({ ...common, kind: 'rerank' as const, query, documents })),
  fc.tuple(envelope, audio, sampling).map(([common, recording, drawn]) => ({
    ...common,
    kind: 'transcription' as const,
    audio: recording,
    language: 'en',
    sampling: drawn,
  })),
);

/** Any valid request, of every kind. (Cloned, because fast-check likes objects without a prototype.) */
export const requests = anyRequest.map((request) => structuredClone(request));

const tokenBytes = fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 5 });
const alternative = fc.record({ token: text, bytes: tokenBytes, logprob: finite });
const logprob: fc.Arbitrary<TokenLogprob> = fc.record({
  token: text,
  bytes: tokenBytes,
  logprob: finite,
  top: fc.array(alternative, { maxLength: 3 }),
});

type Piece = Omit<DeltaEvent, 'type' | 'index'>;

/** A piece of a choice, as an engine may give it, without tool calls. */
const piece: fc.Arbitrary<Piece> = fc.record(
  {
    text: someText,
    reasoning: someText,
    tokenIds: fc.array(tokenId, { minLength: 1, maxLength: 4 }),
    logprobs: fc.array(logprob, { minLength: 1, maxLength: 3 }),
    extra: jsonObject,
  },
  { requiredKeys: ['text'] },
);

/** The pieces of one choice's tool calls, one call after the other. */
const toolCallPieces: fc.Arbitrary<Piece[]> = fc
  .array(fc.tuple(line, line, fc.array(someText, { maxLength: 3 })), { maxLength: 3 })
  .map((calls) =>
    calls.flatMap(([id, name, pieces], call) => [
      { toolCall: { call, id, name } },
      ...pieces.map((part) => ({ toolCall: { call, arguments: part } })),
    ]),
  );

const index = fc.nat(100);
const count = fc.nat(2 ** 31);
const fraction = fc.double({ min: 0, max: 1, noNaN: true });
const float32 = fc.float({ noNaN: true, noDefaultInfinity: true });

const accepted: fc.Arbitrary<InferenceEvent> = fc.record(
  { type: fc.constant('accepted' as const), replica: line, cachedTokens: count },
  { requiredKeys: ['type', 'replica'] },
);
const progress: fc.Arbitrary<InferenceEvent> = fc.record(
  {
    type: fc.constant('progress' as const),
    stage: fc.constantFrom('queued', 'loading', 'prefill'),
    fraction,
  },
  { requiredKeys: ['type', 'stage'] },
);
const finishReason = fc.constantFrom('stop' as const, 'length', 'tool_calls', 'content_filter');
const usage: fc.Arbitrary<InferenceEvent> = fc.tuple(count, count, count).map(([one, other, completion]) => ({
  type: 'usage',
  prompt: Math.max(one, other),
  cached: Math.min(one, other),
  completion,
}));
const error: fc.Arbitrary<InferenceEvent> = fc.record(
  {
    type: fc.constant('error' as const),
    code: fc.constantFrom(...Object.keys(errorTable).filter(isErrorCode)),
    message: text,
    retryable: fc.boolean(),
    phase: fc.constantFrom('before-output', 'during-output'),
    param: text,
    retryAfterSeconds: fc.double({ min: 0, max: 60, noNaN: true }),
    data: jsonObject,
  },
  { requiredKeys: ['type', 'code', 'message', 'retryable', 'phase'] },
);

const anyEvent: fc.Arbitrary<InferenceEvent> = fc.oneof(
  accepted,
  progress,
  fc.tuple(index, piece).map(([choice, fields]) => ({ type: 'delta' as const, index: choice, ...fields })),
  fc.tuple(index, toolCallPieces).map(([choice, pieces]) => ({
    type: 'delta' as const,
    index: choice,
    ...(pieces.at(-1) ?? { text: 'x' }),
  })),
  fc.record({
    type: fc.constant('vector' as const),
    index,
    values: fc.array(float32, { maxLength: 20 }).map((values) => Float32Array.from(values)),
  }),
  fc.record({ type: fc.constant('score' as const), index, score: finite }),
  fc.record({ type: fc.constant('finish' as const), index, reason: finishReason }),
  usage,
  error,
  fc.constant<InferenceEvent>({ type: 'end' }),
);

/** Any event by itself, well-formed. */
export const events = anyEvent.map((event) => structuredClone(event));

/** A request and a whole lawful answer to it. */
export interface LawfulAnswer {
  readonly request: InferenceRequest;
  readonly events: InferenceEvent[];
}

export const lawfulAnswers: fc.Arbitrary<LawfulAnswer> = requests.chain((request) =>
  fc
    .tuple(
      fc.array(progress, { maxLength: 2 }),
      accepted,
      outputOf(request),
      fc.array(progress, { maxLength: 2 }),
      fc.option(usage, { nil: undefined }),
    )
    .map(([waiting, start, given, late, spent]) => ({
      request,
      events: [
        ...waiting,
        start,
        ...given,
        ...late,
        ...(spent === undefined ? [] : [spent]),
        { type: 'end' },
      ],
    })),
);

function outputOf(request: InferenceRequest): fc.Arbitrary<InferenceEvent[]> {
  switch (request.kind) {
    case 'embedding':
      return fc
        .integer({ min: 1, max: 8 })
        .chain((length) =>
          shuffled(request.inputs.length, (place) =>
            fc
              .array(float32, { minLength: length, maxLength: length })
              .map((values) => ({ type: 'vector', index: place, values: Float32Array.from(values) })),
          ),
        );
    case 'rerank':
      return shuffled(request.documents.length, (place) =>
        finite.map((score) => ({ type: 'score', index: place, score })),
      );
    case 'transcription':
      return choicesOf(1);
    default:
      return choicesOf(request.output.choices);
  }
}

function shuffled(
  length: number,
  eventAt: (place: number) => fc.Arbitrary<InferenceEvent>,
): fc.Arbitrary<InferenceEvent[]> {
  return fc
    .tuple(...Array.from({ length }, (_, place) => eventAt(place)))
    .chain((given) => fc.shuffledSubarray(given, { minLength: length }));
}

/** Deltas and finishes of `choices` choices, interleaved. */
function choicesOf(choices: number): fc.Arbitrary<InferenceEvent[]> {
  const choiceAt = (place: number): fc.Arbitrary<InferenceEvent[]> =>
    fc
      .tuple(fc.array(piece, { maxLength: 4 }), toolCallPieces, finishReason)
      .map(([pieces, calls, reason]) => [
        ...[...pieces, ...calls].map((fields) => ({ type: 'delta' as const, index: place, ...fields })),
        { type: 'finish', index: place, reason },
      ]);
  return fc.tuple(...Array.from({ length: choices }, (_, place) => choiceAt(place))).chain((perChoice) => {
    const turns = perChoice.flatMap((given, place) => given.map(() => place));
    return fc.shuffledSubarray(turns, { minLength: turns.length }).map((order) => {
      const waiting = perChoice.map((given) => [...given]);
      return order.flatMap((place) => waiting[place]?.shift() ?? []);
    });
  });
}
