// One HTTP request with the response to it, as every handler gets them.
import type { IncomingMessage, ServerResponse } from 'node:http';

export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Shown as `x-request-id` on every answer, and in the log. */
  readonly requestId: string;
  /** Aborted with `cancelled` as soon as the client is gone before its answer is complete. */
  readonly signal: AbortSignal;
}

/** Answers an exchange. A handler that rejects breaks the connection: it should answer its own failures. */
export type HttpHandler = (exchange: Exchange) => Promise<void>;
