// One request to the hub: who gets the token, what a refusal means, and when silence counts as a cut. It
// knows nothing of repositories or files.

import type { Timer } from '../util/clock.ts';
import { MeshnodeError, systemErrorCode } from '../util/errors.ts';
import { type DownloadParts, withRetries } from './download-retry.ts';
import type { HubSettings } from './hub-settings.ts';

/** An answer that is not a refusal. Either its chunks are read, once, or it is discarded. */
export interface HubAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly chunks: AsyncIterable<Uint8Array>;
  /** Closes an answer whose chunks nobody reads. */
  discard(): Promise<void>;
}

export interface HubRequest {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** What is asked for, for sentences: `org/repo`. */
  readonly subject: string;
  readonly signal: AbortSignal;
}

/** Requests to one hub. */
export class HubConnection {
  readonly #settings: HubSettings;
  readonly #parts: DownloadParts;

  constructor(settings: HubSettings, parts: DownloadParts) {
    this.#settings = settings;
    this.#parts = parts;
  }

  /**
   * Sends one request, following redirects. Rejects, and so do the chunks, with `download_denied`,
   * `download_not_found`, `download_failed` (worth trying again) or the signal's reason. 416 is an answer.
   */
  async request(url: string, request: HubRequest): Promise<HubAnswer> {
    const watch = new SilenceWatch(this.#parts, new URL(url).host);
    const signal = AbortSignal.any([request.signal, watch.signal]);
    try {
      const response = await fetch(url, {
        method: request.method ?? 'GET',
        headers: { ...request.headers, ...this.#authorization(url) },
        signal,
        ...(request.body === undefined ? {} : { body: request.body }),
      });
      if (!response.ok && response.status !== 416) {
        await response.body?.cancel();
        throw this.#refusal(response, request.subject);
      }
      return {
        status: response.status,
        headers: response.headers,
        chunks: chunksOf(response, watch, signal),
        discard: async () => {
          watch.stop();
          await response.body?.cancel();
        },
      };
    } catch (thrown) {
      watch.stop();
      throw transferError(thrown, signal, new URL(url).host);
    }
  }

  /** A `fetch` for the hub library's API calls: bounded bodies, retries, refusals as our errors. */
  apiFetch(subject: string, signal: AbortSignal): typeof fetch {
    return (input, init) =>
      withRetries(this.#parts, signal, async () => {
        const answer = await this.request(String(input), {
          ...(init?.method === undefined ? {} : { method: init.method }),
          ...(typeof init?.body === 'string' ? { body: init.body } : {}),
          headers: Object.fromEntries(new Headers(init?.headers)),
          subject,
          signal,
        });
        const body = await readBounded(answer.chunks, this.#parts.limits.answerBytes);
        return new Response(body, { status: answer.status, headers: answer.headers });
      });
  }

  /** The token for the hub itself. `fetch` drops the header when a redirect leaves the origin. */
  #authorization(url: string): { authorization?: string } {
    const { token, endpoint } = this.#settings;
    return token !== undefined && sameOrigin(url, endpoint) ? { authorization: `Bearer ${token}` } : {};
  }

  #refusal(response: Response, subject: string): MeshnodeError {
    const fromHub = sameOrigin(response.url, this.#settings.endpoint);
    const reason = response.headers.get('x-error-code') ?? '';
    if (fromHub && (response.status === 404 || reason === 'RepoNotFound')) {
      return notFound(subject, reason);
    }
    if (fromHub && (response.status === 401 || response.status === 403)) {
      return denied(subject, reason, this.#settings.token !== undefined);
    }
    const retryAfterSeconds = Number(response.headers.get('retry-after'));
    return new MeshnodeError(
      'download_failed',
      `${new URL(response.url).host} answered ${response.status} for ${subject}.`,
      retryAfterSeconds > 0 ? { retryAfterSeconds } : {},
    );
  }
}

/** The hub says 401 for what does not exist as for what is hidden: the sentence names both. */
function denied(subject: string, reason: string, hasToken: boolean): MeshnodeError {
  if (reason === 'GatedRepo') {
    return new MeshnodeError('download_denied', `${subject} is gated: its licence must be accepted first.`);
  }
  const message = `The hub gives no access to ${subject}: it does not exist, or is private or gated.`;
  return new MeshnodeError('download_denied', message, {
    hint: hasToken
      ? 'Check the name, and that the account of HF_TOKEN has accepted its licence and may read it.'
      : 'Check the name; if it is right, accept its licence on its page and set HF_TOKEN.',
  });
}

function notFound(subject: string, reason: string): MeshnodeError {
  if (reason === 'RevisionNotFound') {
    return new MeshnodeError('download_not_found', `${subject} has no such revision.`, {
      hint: 'Check what follows the @: a branch, a tag or a commit.',
    });
  }
  return new MeshnodeError('download_not_found', `The hub has no ${subject}.`, {
    hint: 'Check the name; what is private also needs HF_TOKEN.',
  });
}

/** Ends a request that brings nothing for `stallMs`. */
class SilenceWatch {
  readonly #controller = new AbortController();
  readonly #arm: () => Timer;
  #timer: Timer;

  constructor({ clock, limits }: DownloadParts, host: string) {
    const onSilence = (): void =>
      this.#controller.abort(
        new MeshnodeError(
          'download_failed',
          `${host} sent nothing for ${Math.ceil(limits.stallMs / 1000)} s.`,
        ),
      );
    this.#arm = () => clock.after(limits.stallMs, onSilence);
    this.#timer = this.#arm();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  restart(): void {
    this.#timer.cancel();
    this.#timer = this.#arm();
  }

  stop(): void {
    this.#timer.cancel();
  }
}

async function* chunksOf(
  response: Response,
  watch: SilenceWatch,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    for await (const chunk of response.body ?? []) {
      watch.stop();
      yield chunk;
      watch.restart();
    }
  } catch (thrown) {
    throw transferError(thrown, signal, new URL(response.url).host);
  } finally {
    watch.stop();
  }
}

async function readBounded(
  chunks: AsyncIterable<Uint8Array>,
  maxBytes: number,
): Promise<Buffer<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    if (bytes > maxBytes) {
      throw new MeshnodeError('download_not_found', `The hub's answer is larger than ${maxBytes} bytes.`, {
        hint: 'Check HF_ENDPOINT: this does not look like a hub.',
      });
    }
    parts.push(chunk);
  }
  return Buffer.concat(parts);
}

/** What ended a request: the caller, our own verdict, or the network. */
function transferError(thrown: unknown, signal: AbortSignal, host: string): unknown {
  if (signal.aborted) {
    return signal.reason;
  }
  if (thrown instanceof MeshnodeError) {
    return thrown;
  }
  const code = systemErrorCode(thrown instanceof Error ? thrown.cause : undefined);
  const detail = code === undefined ? '' : ` (${code})`;
  return new MeshnodeError('download_failed', `The connection to ${host} failed or was cut${detail}.`, {
    hint: 'Check the network and try again: the download goes on where it stopped.',
    cause: thrown,
  });
}

function sameOrigin(url: string, endpoint: string): boolean {
  return new URL(url).origin === new URL(endpoint).origin;
}
