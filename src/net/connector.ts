// Makes links: dials peers that have none, one dial of a peer at a time. Not through libp2p's own dialler, which
// tries the addresses of a peer one after the other.
import type { Connection } from '@libp2p/interface';
import type { PeerId } from '../trust/keys.ts';
import { raceSignal } from '../util/async.ts';
import type { Clock } from '../util/clock.ts';
import { MeshnodeError } from '../util/errors.ts';
import type { DialAddress } from './dial-address.ts';
import { Dialer } from './dialer.ts';
import { type Libp2pComponents, wrongKeyMessage } from './libp2p-node.ts';
import type { Links } from './links.ts';
import type { PathKind } from './network.ts';
import { withoutName } from './resolve-name.ts';

export class Connector {
  readonly #links: Links;
  readonly #dialer: Dialer<Connection>;
  /** By peer and path. */
  readonly #dials = new Map<string, Promise<unknown>>();

  constructor({ transportManager }: Libp2pComponents, links: Links, clock: Clock) {
    this.#links = links;
    this.#dialer = new Dialer({
      clock,
      connect: (address, signal) => connectTo(transportManager, address, signal),
      discard: (connection) =>
        connection.abort(new MeshnodeError('cancelled', 'Another address was faster.')),
    });
  }

  /**
   * Sees to a link to `peer`, over `path` if that is given. Joins a dial that is under way; should it fail, dials
   * the addresses of its own. Rejects with `peer_unreachable` or `peer_key_mismatch`.
   */
  async link(
    peer: PeerId,
    addresses: readonly string[],
    path: PathKind | undefined,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const key = `${peer} ${path ?? ''}`;
    for (let other = this.#dials.get(key); other !== undefined; other = this.#dials.get(key)) {
      await raceSignal(Promise.allSettled([other]), signal);
    }
    if (this.#isLinked(peer, path)) {
      return;
    }
    const dial = this.#dialer.dial(peer, addresses, path, signal);
    this.#dials.set(key, dial);
    try {
      await dial;
    } finally {
      this.#dials.delete(key);
    }
    if (!this.#isLinked(peer, path)) {
      throw new MeshnodeError('peer_unreachable', `${peer} closed the connection at once.`);
    }
  }

  #isLinked(peer: PeerId, path: PathKind | undefined): boolean {
    return path === undefined ? this.#links.to(peer).length > 0 : this.#links.by(peer, path) !== undefined;
  }
}

async function connectTo(
  transports: Libp2pComponents['transportManager'],
  address: DialAddress,
  signal: AbortSignal,
): Promise<Connection> {
  try {
    return await transports.dial(await withoutName(address), { signal });
  } catch (cause) {
    throw cause instanceof Error && cause.message === wrongKeyMessage
      ? new MeshnodeError('peer_key_mismatch', cause.message, { cause })
      : cause;
  }
}
