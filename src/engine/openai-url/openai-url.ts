// The engine `openai-url`: attaches to a server that speaks OpenAI's API (Ollama, LM Studio, vLLM,
// llama-swap, another meshnode) and keeps its list of models up to date. Starts no process, needs no native code.
import { background, Emitter } from '../../util/async.ts';
import { type Clock, sleep } from '../../util/clock.ts';
import { asMeshnodeError, MeshnodeError } from '../../util/errors.ts';
import { engineLimits } from '../../util/limits/engine.ts';
import type { Logger } from '../../util/logging.ts';
import type { Random } from '../../util/random.ts';
import type { LoadedModel } from '../engine.ts';
import { ServerClient } from '../openai/client.ts';
import { AttachedModel } from './attached-model.ts';
import { type ListedModel, probeModels } from './probe.ts';

/** A server that somebody else runs, and the models it serves now. */
export interface AttachedServer {
  /** Its base URL, without credentials or a trailing slash. */
  readonly url: string;
  models(): readonly LoadedModel[];
  /** Tells of every change of `models()` or `health`; the returned function stops it. */
  onChange(listener: () => void): () => void;
  /** What the last look at the server gave. */
  readonly health: { ok: boolean; error?: MeshnodeError };
  /** Lets go of the server; running answers get `shutting_down`. Idempotent. */
  close(): Promise<void>;
}

export interface AttachOptions {
  /** Base URL, e.g. `http://127.0.0.1:11434/v1`; without a path `/v1` is added. */
  readonly url: string;
  /** Sent to this server only, as a bearer token. */
  readonly apiKey?: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Gives the attempt up. Once attached it has no effect. */
  readonly signal?: AbortSignal;
}

/** Attaches once the server has listed its models. Rejects `attach_failed`, or with the signal's reason. */
export async function attachOpenAiUrl(options: AttachOptions): Promise<AttachedServer> {
  const url = normaliseUrl(options.url);
  const client = new ServerClient({ url, apiKey: options.apiKey, clock: options.clock });
  try {
    const models = await probeModels(client, options.signal ?? new AbortController().signal);
    return new AttachedUrl(url, client, models, options);
  } catch (thrown) {
    await client.close();
    throw thrown;
  }
}

class AttachedUrl implements AttachedServer {
  readonly url: string;
  readonly #client: ServerClient;
  readonly #options: AttachOptions;
  readonly #log: Logger;
  readonly #changes = new Emitter<void>();
  readonly #models = new Map<string, AttachedModel>();
  readonly #closing = new AbortController();
  #health: { ok: boolean; error?: MeshnodeError } = { ok: true };
  #lookNow = new AbortController();

  constructor(url: string, client: ServerClient, models: readonly ListedModel[], options: AttachOptions) {
    this.url = url;
    this.#client = client;
    this.#options = options;
    this.#log = options.log.child({ part: 'openai-url', url });
    this.#update(models);
    background(this.#watch(), 'watching an attached server', this.#log);
  }

  get health(): { ok: boolean; error?: MeshnodeError } {
    return this.#health;
  }

  /** A model that its user let go of stays away until the server stops listing it. */
  models(): readonly LoadedModel[] {
    return [...this.#models.values()].filter(({ state }) => state.state !== 'unloaded');
  }

  onChange(listener: () => void): () => void {
    return this.#changes.listen(listener);
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) {
      return;
    }
    this.#closing.abort(new MeshnodeError('shutting_down', 'The server is being let go of.'));
    await Promise.all([...this.#models.values()].map((model) => model.unload()));
    await this.#client.close();
  }

  /** Looks at the server again and again, more rarely while it fails. */
  async #watch(): Promise<void> {
    const closing = this.#closing.signal;
    let failures = 0;
    while (!closing.aborted) {
      await this.#pause(failures);
      if (closing.aborted) {
        return;
      }
      try {
        this.#update(await probeModels(this.#client, closing));
        failures = 0;
      } catch (thrown) {
        failures++;
        this.#missed(asMeshnodeError(thrown, 'attach_failed'));
      }
    }
  }

  async #pause(failures: number): Promise<void> {
    const { clock, random } = this.#options;
    const backoffMs = Math.min(engineLimits.attachPollMs * 2 ** failures, engineLimits.attachPollMaxMs);
    // Spread over the upper half: many nodes may watch one server.
    const delayMs = backoffMs * (0.5 + random.float() / 2);
    this.#lookNow = new AbortController();
    const wake = AbortSignal.any([this.#closing.signal, this.#lookNow.signal]);
    await sleep(clock, delayMs, wake).catch(() => {}); // Woken early, which is no failure.
  }

  #update(listed: readonly ListedModel[]): void {
    let changed = !this.#health.ok;
    this.#health = { ok: true };
    for (const model of listed) {
      const known = this.#models.get(model.name);
      known?.listed();
      if (known === undefined) {
        this.#models.set(model.name, this.#attach(model));
        changed = true;
      }
    }
    const names = new Set(listed.map(({ name }) => name));
    for (const [name, model] of this.#models) {
      if (!names.has(name)) {
        this.#models.delete(name);
        model.vanished();
        changed = true;
      }
    }
    if (changed) {
      this.#log.info({ models: listed.length }, 'the attached server lists its models');
      this.#changes.emit();
    }
  }

  #attach(listed: ListedModel): AttachedModel {
    const { clock, random } = this.#options;
    return new AttachedModel({
      listed,
      client: this.#client,
      clock,
      random,
      onConnectionFailure: () => this.#lookNow.abort(),
      onUnload: () => this.#changes.emit(),
    });
  }

  #missed(error: MeshnodeError): void {
    if (this.#closing.signal.aborted || this.#isBusy(error)) {
      return;
    }
    const changed = this.#health.ok;
    this.#health = { ok: false, error };
    for (const model of this.#models.values()) {
      model.unreachable(error);
    }
    if (changed) {
      this.#log.warn({ err: error }, 'the attached server does not answer');
      this.#changes.emit();
    }
  }

  /** Silence proves nothing while the server answers us elsewhere: some list no models while they compute. */
  #isBusy(error: MeshnodeError): boolean {
    const silent =
      error.details.cause instanceof MeshnodeError && error.details.cause.code === 'engine_timeout';
    return silent && [...this.#models.values()].some((model) => model.figures().inFlight > 0);
  }
}

/**
 * The base URL that a person means: one form for all ways to write it. Throws `attach_failed` for what is no
 * plain http(s) URL. Credentials are refused: URLs are shown and logged.
 */
export function normaliseUrl(text: string): string {
  const url = URL.parse(text);
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new MeshnodeError('attach_failed', 'The URL of the server to attach is no http or https URL.', {
      hint: 'Give its base URL, e.g. http://127.0.0.1:11434/v1.',
    });
  }
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    throw new MeshnodeError('attach_failed', 'The URL of the server to attach holds more than an address.', {
      hint: 'Leave out user, password, query and fragment; a key is given beside the URL.',
    });
  }
  const path = url.pathname.replace(/\/+$/, '');
  return `${url.origin}${path === '' ? '/v1' : path}`;
}
