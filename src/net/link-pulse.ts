// Pings one link for as long as it is open, and gives it up once it is silent: TCP alone goes on believing in a dead
// one for minutes. Decides nothing about which link is used.
import type { Connection } from '@libp2p/interface';
import type { Clock, Timer } from '../util/clock.ts';
import { MeshnodeError } from '../util/errors.ts';
import { netLimits } from '../util/limits/net.ts';

export interface LinkPulseComponents {
  readonly clock: Clock;
  /** One round trip on this very link. A refusal is an answer as well. */
  readonly ping: (signal: AbortSignal) => Promise<unknown>;
}

export class LinkPulse {
  readonly #connection: Pick<Connection, 'status' | 'abort'>;
  readonly #components: LinkPulseComponents;
  #timer: Timer;
  /** Pings in a row that nothing came back for. */
  #silences = 0;

  /** To be made while the connection is open. */
  constructor(
    connection: Pick<Connection, 'status' | 'abort' | 'addEventListener'>,
    components: LinkPulseComponents,
  ) {
    this.#connection = connection;
    this.#components = components;
    this.#timer = this.#nextBeat();
    connection.addEventListener('close', () => this.#timer.cancel());
  }

  #nextBeat(): Timer {
    return this.#components.clock.after(netLimits.linkPingMs, () => void this.#beat(), { keepAlive: false });
  }

  async #beat(): Promise<void> {
    const { ping, clock } = this.#components;
    this.#silences = (await isSilent(ping, netLimits.pingMs, clock)) ? this.#silences + 1 : 0;
    if (this.#connection.status !== 'open') {
      return;
    }
    if (this.#silences >= netLimits.linkSilences) {
      this.#connection.abort(new MeshnodeError('stream_broken', 'The peer does not answer on this link.'));
    } else {
      this.#timer = this.#nextBeat();
    }
  }
}

/** Whether nothing comes back within `withinMs`. A refusal is an answer as well. */
export async function isSilent(
  ping: LinkPulseComponents['ping'],
  withinMs: number,
  clock: Clock,
): Promise<boolean> {
  const late = new AbortController();
  const timer = clock.after(withinMs, () => late.abort(), { keepAlive: false });
  try {
    await ping(late.signal);
    return false;
  } catch {
    return late.signal.aborted;
  } finally {
    timer.cancel();
  }
}
