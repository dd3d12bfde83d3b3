// The servers that this node is attached to: follows what models each offers, and lets go of all at the end.
import type { LoadedModel } from '../engine/engine.ts';
import { type AttachedServer, normaliseUrl } from '../engine/openai-url/openai-url.ts';
import { raceSignal } from '../util/async.ts';
import { MeshnodeError } from '../util/errors.ts';
import type { ServingPorts } from './ports.ts';

/** Told of the models that a server has now. */
export type FollowModels = (url: string, models: readonly LoadedModel[]) => void;

interface FollowedServer {
  readonly server: AttachedServer;
  readonly stopListening: () => void;
}

export class Attachments {
  readonly #connect: ServingPorts['attach'];
  readonly #follow: FollowModels;
  /** Servers by normalised URL, those being connected to included. */
  readonly #servers = new Map<string, Promise<FollowedServer>>();
  readonly #closing = new AbortController();

  constructor(connect: ServingPorts['attach'], follow: FollowModels) {
    this.#connect = connect;
    this.#follow = follow;
  }

  /** Follows a server until `close`; a second call for one URL joins the first. Rejects with `attach_failed`. */
  async attach(url: string, signal: AbortSignal): Promise<void> {
    this.#closing.signal.throwIfAborted();
    const address = normaliseUrl(url);
    let server = this.#servers.get(address);
    if (server === undefined) {
      server = this.#open(address, AbortSignal.any([signal, this.#closing.signal]));
      this.#servers.set(address, server);
      server.catch(() => this.#servers.delete(address)); // The next call tries again.
    }
    await raceSignal(server, signal);
  }

  /** Lets go of every server. */
  async close(): Promise<void> {
    this.#closing.abort(new MeshnodeError('shutting_down', 'The node is stopping.'));
    const servers = [...this.#servers.values()];
    this.#servers.clear();
    await Promise.allSettled(
      servers.map(async (followed) => {
        const { server, stopListening } = await followed;
        stopListening();
        await server.close();
      }),
    );
  }

  async #open(url: string, signal: AbortSignal): Promise<FollowedServer> {
    const server = await this.#connect(url, signal);
    if (this.#closing.signal.aborted) {
      await server.close();
      throw this.#closing.signal.reason;
    }
    const follow = (): void => this.#follow(url, server.models());
    const stopListening = server.onChange(follow);
    follow();
    return { server, stopListening };
  }
}
