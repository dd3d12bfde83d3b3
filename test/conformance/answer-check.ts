// A `fetch` for the official client that holds every answer, whole, streamed or refused, against the shapes
// and headers it has to have. It changes nothing: what is wrong is noted, and fails the test at its end.
import { createParser } from 'eventsource-parser';
import type { z } from 'zod';
import * as shapes from './shapes.ts';
import { StreamCheck } from './stream-check.ts';

/** An answer as it came. */
export interface SeenAnswer {
  readonly path: string;
  readonly status: number;
  readonly headers: Headers;
}

/** What answers on a path, and whether an engine gave it. */
const answered: ReadonlyArray<{ path: RegExp; shape: z.ZodType; stream?: 'chat' | 'completion' }> = [
  { path: /^\/v1\/chat\/completions$/, shape: shapes.chatCompletion, stream: 'chat' },
  { path: /^\/v1\/completions$/, shape: shapes.completion, stream: 'completion' },
  { path: /^\/v1\/embeddings$/, shape: shapes.embeddings },
  { path: /^\/v1\/rerank$/, shape: shapes.ranking },
  { path: /^\/v1\/models$/, shape: shapes.modelList },
  { path: /^\/v1\/models\/.+$/, shape: shapes.model },
];
const inferencePath = /completions$|embeddings$|rerank$/;

export class AnswerCheck {
  /** Broken rules so far. */
  readonly faults: string[] = [];
  /** Answers so far, in the order in which their headers came. */
  readonly answers: SeenAnswer[] = [];

  readonly fetch = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    const response = await fetch(input, init);
    const path = new URL(input instanceof Request ? input.url : input).pathname;
    const { status, headers } = response;
    this.answers.push({ path, status, headers });
    const fault = (what: string): void => {
      this.faults.push(`${status} ${path}: ${what}`);
    };
    checkHeaders(path, response, fault);
    return headers.get('content-type')?.startsWith('text/event-stream')
      ? checkedStream(path, response, fault)
      : checkedBody(path, response, fault);
  };
}

type Fault = (what: string) => void;

function checkHeaders(path: string, { status, headers }: Response, fault: Fault): void {
  const wanted = status === 200 && inferencePath.test(path) ? ['peer', 'attempts', 'route'] : [];
  for (const name of ['x-request-id', ...wanted.map((short) => `x-meshnode-${short}`)]) {
    if (!headers.get(name)) {
      fault(`the header ${name} is missing`);
    }
  }
  const type = headers.get('content-type') ?? '';
  if (!['application/json', 'text/event-stream; charset=utf-8'].includes(type)) {
    fault(`the content type is '${type}'`);
  }
}

async function checkedBody(path: string, response: Response, fault: Fault): Promise<Response> {
  const text = await response.text();
  const shape = response.ok ? answered.find((route) => route.path.test(path))?.shape : shapes.errorBody;
  const parsed = shape?.safeParse(JSON.parse(text));
  if (parsed?.success !== true) {
    fault(`${text} has not its shape: ${parsed?.error.message ?? 'none is known'}`);
  }
  return new Response(text, response);
}

function checkedStream(path: string, response: Response, fault: Fault): Response {
  const kind = answered.find((route) => route.path.test(path))?.stream;
  if (response.body === null || kind === undefined) {
    fault('a stream came where there is none');
    return response;
  }
  const check = new StreamCheck(kind, fault);
  const parser = createParser({ onEvent: ({ data }) => check.frame(data) });
  const decoder = new TextDecoder();
  const watched = response.body.pipeThrough(
    new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
      transform(bytes, controller) {
        parser.feed(decoder.decode(bytes, { stream: true }));
        controller.enqueue(bytes);
      },
      flush: () => check.end(),
    }),
  );
  return new Response(watched, response);
}
