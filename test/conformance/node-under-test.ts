// A real node for the tests of one file, the official client in front of it, and requests that many tests send.
import OpenAI, { type ClientOptions } from 'openai';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { type ProcessOptions, type StartedNode, startNode } from '../support/started-process.ts';
import { AnswerCheck, type SeenAnswer } from './answer-check.ts';

export interface Connection {
  readonly client: OpenAI;
  /** What this client was answered so far. */
  readonly answers: readonly SeenAnswer[];
  /** For requests that the client does not make. */
  readonly fetch: (path: string, init?: RequestInit) => Promise<Response>;
}

export interface NodeUnderTest {
  readonly node: StartedNode;
  /** A client of its own. It does not retry unless told to. */
  connect(options?: ClientOptions): Connection;
}

/**
 * Starts a node before the tests of this file and stops it after them. With `ready` (the default) its models
 * are loaded before the first test. A test fails if any answer it got broke the rules of answer-check.ts.
 */
export function useNode(
  flags: () => readonly string[],
  options: ProcessOptions & { ready?: boolean } = {},
): NodeUnderTest {
  let started: StartedNode | undefined;
  const checks: AnswerCheck[] = [];

  beforeAll(async () => {
    started = await startNode([...flags(), '--threads', '1'], options);
    if (options.ready !== false) {
      await started.process.event('ready');
    }
  });
  afterEach(() => expect(checks.flatMap(({ faults }) => faults.splice(0))).toEqual([]));
  afterAll(() => started?.stop());

  const under: NodeUnderTest = {
    get node() {
      if (started === undefined) {
        throw new Error('The node is not started yet.');
      }
      return started;
    },
    connect(clientOptions) {
      const { apiUrl, origin } = under.node;
      const check = new AnswerCheck();
      checks.push(check);
      return {
        client: new OpenAI({
          baseURL: apiUrl,
          apiKey: 'any',
          maxRetries: 0,
          fetch: check.fetch,
          ...clientOptions,
        }),
        answers: check.answers,
        fetch: (path, init) => check.fetch(`${origin}${path}`, init),
      };
    },
  };
  return under;
}

/** Ends by itself. */
export const hello = {
  model: 'demo',
  messages: [{ role: 'user', content: 'Say hello.' }],
  temperature: 0,
  max_tokens: 400,
} satisfies OpenAI.ChatCompletionCreateParamsNonStreaming;

/** The demo models' tokens that end an answer. */
const endTokens = [256, 258];

/** Goes on until `max_tokens`: the ways to end are banned. */
export const endless = {
  model: 'demo',
  messages: [{ role: 'user', content: 'Count for ever.' }],
  temperature: 0,
  logit_bias: Object.fromEntries(endTokens.map((token) => [token, -100])),
} satisfies OpenAI.ChatCompletionCreateParamsNonStreaming;

/** As many tokens as the demo model's context leaves room for, nearly: some seconds. */
export const forSeconds = { ...endless, max_tokens: 1900 };

/** A request with fields that the client's types do not know. */
export function withFields<Params extends object>(params: Params, fields: object): Params {
  return { ...params, ...fields };
}

/** What a rejected promise was rejected with. */
export async function failureOf(promise: PromiseLike<unknown>): Promise<unknown> {
  return promise.then(
    () => {
      throw new Error('This should have failed.');
    },
    (failure: unknown) => failure,
  );
}

export function contentOf({ choices }: OpenAI.ChatCompletion, index = 0): string {
  return choices[index]?.message.content ?? '';
}

/** The text of a choice in a stream. */
export function streamedText(chunks: readonly OpenAI.ChatCompletionChunk[], index = 0): string {
  return chunks
    .flatMap(({ choices }) => choices)
    .filter((choice) => choice.index === index)
    .map(({ delta }) => delta.content ?? '')
    .join('');
}
