// The open connections, by peer, and who hears of them.
import type { Connection } from '@libp2p/interface';
import type { PeerId } from '../trust/keys.ts';
import { Emitter } from '../util/async.ts';
import { netLimits } from '../util/limits/net.ts';
import type { Logger } from '../util/logging.ts';
import type { Link, LinkEvent, PathKind } from './network.ts';

export interface LinkedConnection {
  readonly link: Link;
  readonly connection: Connection;
  /** Monotonic time of its opening. */
  readonly sinceMs: number;
}

/**
 * Those of a peer's links that one more makes doubtful: whoever dials again by a path that works seldom knows of it, so
 * the peer's process is a new one, or it has lost what this side still believes in. Links of one moment are twins,
 * dialled from both sides.
 */
export function doubtfulBeside(
  next: LinkedConnection,
  links: readonly LinkedConnection[],
): LinkedConnection[] {
  const isOlder = ({ sinceMs }: LinkedConnection): boolean => next.sinceMs - sinceMs > netLimits.twinLinksMs;
  return next.link.direction === 'inbound'
    ? links.filter((one) => one.link.path === next.link.path && isOlder(one))
    : [];
}

export class Links {
  readonly #byPeer = new Map<PeerId, LinkedConnection[]>();
  readonly #listeners: Emitter<LinkEvent>;

  constructor(log: Logger) {
    this.#listeners = new Emitter((cause) => log.error({ err: cause }, 'a listener to links failed'));
  }

  listen(listener: (event: LinkEvent) => void): () => void {
    return this.#listeners.listen(listener);
  }

  add(linked: LinkedConnection): void {
    const links = [...this.to(linked.link.peer), linked];
    this.#byPeer.set(linked.link.peer, links);
    this.#listeners.emit({ type: 'opened', link: linked.link, remaining: links.length });
  }

  /** The link of a connection that has closed, or undefined if it had none. */
  remove(connection: Connection): LinkEvent | undefined {
    const peer = connection.remotePeer.toString();
    const links = this.to(peer);
    const linked = links.find((one) => one.connection === connection);
    if (linked === undefined) {
      return undefined;
    }
    const others = links.filter((one) => one !== linked);
    if (others.length > 0) {
      this.#byPeer.set(peer, others);
    } else {
      this.#byPeer.delete(peer);
    }
    const event: LinkEvent = { type: 'closed', link: linked.link, remaining: others.length };
    this.#listeners.emit(event);
    return event;
  }

  /** Oldest first. */
  to(peer: PeerId): readonly LinkedConnection[] {
    return this.#byPeer.get(peer) ?? [];
  }

  /** The newest link of one kind: whoever dialled again has reason to think that the older ones are dead. */
  by(peer: PeerId, path: PathKind): LinkedConnection | undefined {
    return this.to(peer).findLast(({ link }) => link.path === path);
  }

  all(): LinkedConnection[] {
    return [...this.#byPeer.values()].flat();
  }
}
