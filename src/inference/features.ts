// What requests may need of an engine beyond their kind, and whether an engine that declares what it has
// can answer one: pure, and the same for every engine, so that nothing asked for is silently dropped.
import { MeshnodeError } from '../util/errors.ts';
import type {
  ChatMessage,
  InferenceKind,
  InferenceRequest,
  OutputConstraints,
  Sampling,
  TextOrTokens,
} from './request.ts';

/** What differs between engines beyond the kind of request. A request that needs what is absent is a 400. */
export type EngineFeature =
  | 'tools'
  | 'json-schema'
  | 'grammar'
  | 'logprobs'
  | 'choices'
  | 'images'
  | 'audio'
  | 'token-prompts'
  | 'seed'
  /** Deltas carry token ids. No request needs it: it makes failover exact. */
  | 'token-ids'
  /** A trailing assistant message is continued, not answered. No request needs it: whoever relies on it asks. */
  | 'continue';

/** The part of an engine's capabilities that decides whether it may answer. */
export interface Answerable {
  readonly kinds: ReadonlySet<InferenceKind>;
  readonly features: ReadonlySet<EngineFeature>;
}

/** A feature a request cannot do without, and the API field that asks for it. */
interface Need {
  readonly feature: EngineFeature;
  readonly param: string;
}

/** The features without which an engine cannot answer the request as asked. */
export function requiredFeatures(request: InferenceRequest): ReadonlySet<EngineFeature> {
  return new Set(needsOf(request).map(({ feature }) => feature));
}

/** Why an engine with these capabilities must refuse the request, or undefined if it may answer. */
export function unsupportedFeature(
  request: InferenceRequest,
  capabilities: Answerable,
): MeshnodeError | undefined {
  const model = request.model.name;
  if (!capabilities.kinds.has(request.kind)) {
    const message = `The model "${model}" does not answer ${request.kind} requests here.`;
    return new MeshnodeError('model_unsupported', message, { param: 'model' });
  }
  const missing = needsOf(request).find(({ feature }) => !capabilities.features.has(feature));
  if (missing === undefined) {
    return undefined;
  }
  const message = `The engine that serves "${model}" cannot do what \`${missing.param}\` asks for (${missing.feature}).`;
  return new MeshnodeError('unsupported_parameter', message, { param: missing.param });
}

function needsOf(request: InferenceRequest): readonly Need[] {
  switch (request.kind) {
    case 'chat':
      return [...request.messages.flatMap(messageNeeds), ...generationNeeds(request)];
    case 'completion':
      return [...promptNeeds([request.prompt], 'prompt'), ...generationNeeds(request)];
    case 'embedding':
      return promptNeeds(request.inputs, 'input');
    case 'transcription':
      return samplingNeeds(request.sampling);
    case 'rerank':
      return [];
  }
}

function messageNeeds(message: ChatMessage, index: number): readonly Need[] {
  const param = `messages[${index}]`;
  const needs: Need[] = [];
  if (message.role === 'tool' || (message.role === 'assistant' && message.toolCalls !== undefined)) {
    needs.push({ feature: 'tools', param });
  }
  if (message.content.some(({ type }) => type === 'image')) {
    needs.push({ feature: 'images', param: `${param}.content` });
  }
  if (message.content.some(({ type }) => type === 'audio')) {
    needs.push({ feature: 'audio', param: `${param}.content` });
  }
  return needs;
}

function promptNeeds(prompts: readonly TextOrTokens[], param: string): readonly Need[] {
  return prompts.every((prompt) => typeof prompt === 'string') ? [] : [{ feature: 'token-prompts', param }];
}

function generationNeeds(request: { sampling: Sampling; output: OutputConstraints }): readonly Need[] {
  const { tools, format, topLogprobs, choices } = request.output;
  const needs: Need[] = [...samplingNeeds(request.sampling)];
  if (tools.length > 0) {
    needs.push({ feature: 'tools', param: 'tools' });
  }
  if (format.type === 'json' || format.type === 'schema') {
    needs.push({ feature: 'json-schema', param: 'response_format' });
  }
  if (format.type === 'grammar') {
    needs.push({ feature: 'grammar', param: 'grammar' });
  }
  if (topLogprobs !== undefined) {
    needs.push({ feature: 'logprobs', param: 'logprobs' });
  }
  if (choices > 1) {
    needs.push({ feature: 'choices', param: 'n' });
  }
  return needs;
}

function samplingNeeds(sampling: Sampling): readonly Need[] {
  return sampling.seed === undefined ? [] : [{ feature: 'seed', param: 'seed' }];
}
