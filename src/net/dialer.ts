// Dials one peer at many addresses: side by side, near ones with a head start, the first that proves the peer's key
// wins. Remembers at which addresses a peer was not found and leaves them alone for a while. Knows no transport.
import type { PeerId } from '../trust/keys.ts';
import { raceSignal } from '../util/async.ts';
import { type Clock, sleep } from '../util/clock.ts';
import { MeshnodeError } from '../util/errors.ts';
import { netLimits } from '../util/limits/net.ts';
import { type DialAddress, parseDialAddress } from './dial-address.ts';
import type { PathKind } from './network.ts';

/** Connects to one address; rejects with `peer_key_mismatch` if another key answers there. */
export type ConnectTo<Connection> = (address: DialAddress, signal: AbortSignal) => Promise<Connection>;

export interface DialerComponents<Connection> {
  readonly clock: Clock;
  readonly connect: ConnectTo<Connection>;
  /** Closes a connection that came second. */
  readonly discard: (connection: Connection) => void;
}

/** What became of one address, as `data.attempts` of `peer_unreachable` tells it. */
export interface DialAttempt {
  readonly address: string;
  readonly reason: string;
}

/**
 * When a peer may be dialled again at an address where it was not found. Another peer may be dialled there: anybody
 * can announce the addresses of others as its own. Pure.
 */
export class DialBackoff {
  /** By peer and address, in the order of their last failure. */
  readonly #failed = new Map<string, { readonly untilMs: number; readonly waitMs: number }>();

  /** Milliseconds for which `peer` is not dialled at `address`; 0 if it may be. */
  waitMs(peer: PeerId, address: string, nowMs: number): number {
    return Math.max(0, (this.#failed.get(keyOf(peer, address))?.untilMs ?? 0) - nowMs);
  }

  failed(peer: PeerId, address: string, nowMs: number): void {
    const key = keyOf(peer, address);
    const lastMs = this.#failed.get(key)?.waitMs ?? netLimits.backoffMs / 2;
    const waitMs = Math.min(lastMs * 2, netLimits.backoffMostMs);
    this.#failed.delete(key);
    this.#failed.set(key, { untilMs: nowMs + waitMs, waitMs });
    const [longestAgo] = this.#failed.keys();
    if (this.#failed.size > netLimits.backoffAddresses && longestAgo !== undefined) {
      this.#failed.delete(longestAgo);
    }
  }

  succeeded(peer: PeerId, address: string): void {
    this.#failed.delete(keyOf(peer, address));
  }
}

export class Dialer<Connection> {
  readonly #components: DialerComponents<Connection>;
  readonly #backoff = new DialBackoff();

  constructor(components: DialerComponents<Connection>) {
    this.#components = components;
  }

  /**
   * A connection to `peer` at one of `addresses`, over `path` if it is given. Where all of them are left alone, waits
   * for the first if that leaves the time to try it. Rejects with `peer_unreachable` (`data.attempts`; none, and
   * `data.backedOffMs`, if all of them are left alone for longer), or `peer_key_mismatch` if only others answered.
   */
  async dial(
    peer: PeerId,
    addresses: readonly string[],
    path?: PathKind,
    signal?: AbortSignal,
  ): Promise<Connection> {
    signal?.throwIfAborted();
    const run = new DialRun(this.#components, this.#backoff, peer);
    const { waiting, dueInMs } = run.select(addresses, path);
    if (dueInMs > netLimits.dialMs - netLimits.dialAddressMs) {
      throw run.leftAlone(dueInMs);
    }
    if (dueInMs > 0) {
      await sleep(this.#components.clock, dueInMs, signal);
    }
    const over = new AbortController();
    const timer = this.#components.clock.after(netLimits.dialMs - dueInMs, () =>
      over.abort(new MeshnodeError('peer_unreachable', `Not reached within ${netLimits.dialMs} ms.`)),
    );
    try {
      const ended = signal === undefined ? over.signal : AbortSignal.any([signal, over.signal]);
      const lanes = Math.min(waiting.length, netLimits.dialsAtOnce);
      return await Promise.any(Array.from({ length: lanes }, (_, lane) => run.lane(waiting, lane, ended)));
    } catch {
      signal?.throwIfAborted();
      throw run.failure();
    } finally {
      timer.cancel();
      over.abort();
    }
  }
}

/** One dial of one peer. */
class DialRun<Connection> {
  readonly #components: DialerComponents<Connection>;
  readonly #backoff: DialBackoff;
  readonly #peer: PeerId;
  readonly #attempts: DialAttempt[] = [];
  /** Aborts when no address is left for lanes that still wait. */
  readonly #allTaken = new AbortController();
  #othersAnswered = false;
  #won = false;

  constructor(components: DialerComponents<Connection>, backoff: DialBackoff, peer: PeerId) {
    this.#components = components;
    this.#backoff = backoff;
    this.#peer = peer;
  }

  /** Those addresses that are tried, and in how many milliseconds they may be; why not the others is noted. */
  select(
    addresses: readonly string[],
    path: PathKind | undefined,
  ): { readonly waiting: DialAddress[]; readonly dueInMs: number } {
    const nowMs = this.#components.clock.monotonicMs();
    const known = [...new Set(addresses)].slice(0, netLimits.dialAddresses).flatMap((text) => {
      const address = parseDialAddress(text, this.#peer);
      if (address === undefined) {
        this.#note(text, 'no address of this peer that this node can dial');
      }
      return address === undefined || (path !== undefined && path !== address.path)
        ? []
        : [{ address, waitMs: this.#backoff.waitMs(this.#peer, text, nowMs) }];
    });
    const dueInMs = dueTogether(known.map(({ waitMs }) => waitMs));
    const waiting = known.flatMap(({ address, waitMs }) => {
      if (waitMs > dueInMs) {
        this.#note(address.text, `failed before, left alone for another ${Math.ceil(waitMs)} ms`);
      }
      return waitMs > dueInMs ? [] : [address];
    });
    return { waiting, dueInMs };
  }

  /** Takes one address after the other from `waiting` until one answers. Rejects when there is none left. */
  async lane(waiting: DialAddress[], lane: number, signal: AbortSignal): Promise<Connection> {
    if (lane > 0) {
      const awake = AbortSignal.any([signal, this.#allTaken.signal]);
      await sleep(this.#components.clock, lane * netLimits.dialHeadStartMs, awake);
    }
    for (let address = waiting.shift(); address !== undefined; address = waiting.shift()) {
      if (waiting.length === 0) {
        this.#allTaken.abort();
      }
      const connection = await this.#try(address, signal);
      if (connection !== undefined) {
        return connection;
      }
    }
    throw this.failure();
  }

  /** Nothing was tried, so this says nothing of the peer. */
  leftAlone(dueInMs: number): MeshnodeError {
    const backedOffMs = Math.ceil(dueInMs);
    return new MeshnodeError(
      'peer_unreachable',
      `${this.#peer} failed at every address before, and is left alone for another ${backedOffMs} ms.`,
      { data: { attempts: [], backedOffMs } },
    );
  }

  failure(): MeshnodeError {
    const data = { attempts: this.#attempts };
    return this.#othersAnswered
      ? new MeshnodeError('peer_key_mismatch', `Another key than ${this.#peer} answers there.`, { data })
      : new MeshnodeError('peer_unreachable', `${this.#peer} was not reached at any address.`, { data });
  }

  async #try(address: DialAddress, signal: AbortSignal): Promise<Connection | undefined> {
    const { clock } = this.#components;
    const late = new AbortController();
    const timer = clock.after(netLimits.dialAddressMs, () =>
      late.abort(new MeshnodeError('peer_unreachable', `No answer within ${netLimits.dialAddressMs} ms.`)),
    );
    try {
      const connection = await this.#connect(address, AbortSignal.any([signal, late.signal]));
      this.#backoff.succeeded(this.#peer, address.text);
      if (this.#won) {
        this.#components.discard(connection);
        return undefined;
      }
      this.#won = true;
      return connection;
    } catch (cause) {
      if (!this.#won) {
        this.#backoff.failed(this.#peer, address.text, clock.monotonicMs());
        this.#note(address.text, reasonOf(late.signal.aborted ? late.signal.reason : cause));
        this.#othersAnswered ||= cause instanceof MeshnodeError && cause.code === 'peer_key_mismatch';
      }
      return undefined;
    } finally {
      timer.cancel();
    }
  }

  /**
   * Gives up with the signal even where the transport does not, and closes what it brings too late. The transport
   * has a signal of its own: a TCP socket dies with the one it was dialled with, long after the dial.
   */
  async #connect(address: DialAddress, signal: AbortSignal): Promise<Connection> {
    const dialling = new AbortController();
    const giveUp = (): void => dialling.abort(signal.reason);
    signal.addEventListener('abort', giveUp, { once: true });
    const connecting = this.#components.connect(address, dialling.signal);
    try {
      return await raceSignal(connecting, signal);
    } catch (cause) {
      connecting.then(this.#components.discard, () => {});
      throw cause;
    } finally {
      signal.removeEventListener('abort', giveUp);
    }
  }

  #note(address: string, reason: string): void {
    this.#attempts.push({ address, reason });
  }
}

/** When the first of these waits is over, and those that end soon after it. 0 if one is over already. */
function dueTogether(waitsMs: readonly number[]): number {
  const firstMs = Math.min(...waitsMs, Number.POSITIVE_INFINITY);
  const isSoon = (waitMs: number): boolean => waitMs <= firstMs + netLimits.backoffSpreadMs;
  return firstMs === 0 ? 0 : Math.max(0, ...waitsMs.filter(isSoon));
}

function keyOf(peer: PeerId, address: string): string {
  return `${peer} ${address}`;
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
