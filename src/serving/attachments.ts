// The servers that this node is attached to: follows what models each offers, and lets go of all at the end.
import type { LoadedModel } from '../engine/engine.ts';
import type { AttachedServer } from '../engine/openai-url.ts';
import type { ServingPorts } from './ports.ts';

/** Told of the models that a server has now. */
export type FollowModels = (url: string, models: readonly LoadedModel[]) => void;

export class Attachments {
  readonly #connect: ServingPorts['attach'];
  readonly #follow: FollowModels;
  readonly #servers = new Map<string, { server: AttachedServer; stopListening: () => void }>();
  #closed = false;

  constructor(connect: ServingPorts['attach'], follow: FollowModels) {
    this.#connect = connect;
    this.#follow = follow;
  }

  /** Follows a server until `close`; a second call for one URL does nothing. Rejects with `attach_failed`. */
  async attach(url: string, signal: AbortSignal): Promise<void> {
    if (this.#servers.has(url)) {
      return;
    }
    const server = await this.#connect(url, signal);
    if (this.#closed) {
      await server.close();
      return;
    }
    const follow = (): void => this.#follow(url, server.models());
    this.#servers.set(url, { server, stopListening: server.onChange(follow) });
    follow();
  }

  /** Lets go of every server. */
  async close(): Promise<void> {
    this.#closed = true;
    const servers = [...this.#servers.values()];
    this.#servers.clear();
    for (const { stopListening } of servers) {
      stopListening();
    }
    await Promise.allSettled(servers.map(({ server }) => server.close()));
  }
}
