// The handlers of inbound streams: how many a peer may have open, and how a stream ends with its handler. Knows
// nothing of what carries streams.
import type { PeerId } from '../trust/keys.ts';
import { raceSignal } from '../util/async.ts';
import type { Clock } from '../util/clock.ts';
import { assertInvariant, MeshnodeError } from '../util/errors.ts';
import { netLimits } from '../util/limits/net.ts';
import type { Logger } from '../util/logging.ts';

/** A PeerStream of any protocol, libp2p's own included. */
export interface ServedStream {
  readonly peer: PeerId;
  readonly protocol: string;
  read(signal?: AbortSignal): Promise<Uint8Array | undefined>;
  end(signal?: AbortSignal): Promise<void>;
  abort(cause: Error): void;
  readonly closed: Promise<void>;
}

/** Serves one stream that has passed the gate. Never throws; false: it was one too many and is aborted. */
export type Serve<S> = (stream: S) => boolean;

export class ServedProtocols {
  readonly #names = new Set<string>();
  readonly #clock: Clock;
  readonly #log: Logger;

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#log = log;
  }

  /** A protocol has one handler for as long as the node lives. */
  add<S extends ServedStream>(
    protocol: string,
    handler: (stream: S) => Promise<void>,
    streamsPerPeer: number,
  ): Serve<S> {
    assertInvariant(!this.#names.has(protocol), `${protocol} has one handler`);
    this.#names.add(protocol);
    /** Inbound streams that are not closed yet. */
    const open = new Map<PeerId, number>();
    return (stream) => {
      const already = open.get(stream.peer) ?? 0;
      if (already >= streamsPerPeer) {
        stream.abort(
          new MeshnodeError('protocol_refused', `${stream.peer} has ${already} streams open already.`),
        );
        return false;
      }
      open.set(stream.peer, already + 1);
      void stream.closed.then(() => countDown(open, stream.peer));
      void this.#run(handler, stream);
      return true;
    };
  }

  async #run<S extends ServedStream>(handler: (stream: S) => Promise<void>, stream: S): Promise<void> {
    try {
      await handler(stream);
      await this.#finish(stream);
    } catch (cause) {
      this.#log.debug({ err: cause, peer: stream.peer, protocol: stream.protocol }, 'a stream was given up');
      stream.abort(cause instanceof Error ? cause : new MeshnodeError('internal', String(cause)));
    }
  }

  /** Ends the stream and lets the other side do so: what it still sends is dropped, and it has not for ever. */
  async #finish(stream: ServedStream): Promise<void> {
    await this.#within(netLimits.endMs, 'did not take the end of its answer', (signal) => stream.end(signal));
    await this.#within(netLimits.lingerMs, 'did not end its stream', async (signal) => {
      while ((await stream.read(signal)) !== undefined) {
        // Nobody is left to want it.
      }
      await raceSignal(stream.closed, signal);
    });
  }

  async #within(
    timeoutMs: number,
    what: string,
    work: (signal: AbortSignal) => Promise<void>,
  ): Promise<void> {
    const late = new AbortController();
    const error = (): MeshnodeError => new MeshnodeError('stream_broken', `The peer ${what}.`);
    const timer = this.#clock.after(timeoutMs, () => late.abort(error()), { keepAlive: false });
    try {
      await work(late.signal);
    } finally {
      timer.cancel();
    }
  }
}

function countDown(open: Map<PeerId, number>, peer: PeerId): void {
  const left = (open.get(peer) ?? 0) - 1;
  if (left > 0) {
    open.set(peer, left);
  } else {
    open.delete(peer);
  }
}
