// What the requests of one peer may take of this node, over all models: so many under way at once, so many
// tokens a minute. Which of them runs when is up to the queue of each model, not decided here.
import { MeshnodeError } from '../util/errors.ts';
import { fullAfterUse, leftOfRate, type Rate } from '../util/rate.ts';

/** See peerLimits. */
export interface PeerAllowanceLimits {
  readonly inFlightPerPeer: number;
  readonly inFlightRetrySeconds: number;
  readonly tokensPerMinute: number;
  readonly debtMinutes: number;
  readonly meteredPeers: number;
}

/** A request that its peer was allowed. */
export interface Admitted {
  /**
   * Counts tokens, of the prompt and of the answer. They are known only afterwards: more than were left are a debt,
   * which the peer's next requests wait for. May be called as often as there are more; after `end` it does nothing.
   */
  charge(tokens: number): void;
  /** The request is over, answered or not. Idempotent. */
  end(): void;
}

/** What one peer uses. */
interface Account {
  inFlight: number;
  /** Monotonic time, ms, at which it may use a whole minute's tokens again. */
  fullAtMs: number | undefined;
}

export class PeerAllowance {
  readonly #limits: PeerAllowanceLimits;
  readonly #tokens: Rate;
  readonly #nowMs: () => number;
  /** By peer id, latest admission last. */
  readonly #accounts = new Map<string, Account>();

  /** `nowMs` is monotonic. */
  constructor(limits: PeerAllowanceLimits, nowMs: () => number) {
    this.#limits = limits;
    this.#tokens = { amount: limits.tokensPerMinute, windowMs: 60_000 };
    this.#nowMs = nowMs;
  }

  /** Peers whose use is remembered. Who has nothing under way and owes nothing is forgotten when others come. */
  get meteredPeers(): number {
    return this.#accounts.size;
  }

  /** Counts a request. Throws `queue_full` if too many are under way, `rate_limit_exceeded` if no token is left. */
  admit(peer: string): Admitted {
    const account = this.#accounts.get(peer);
    this.#requireLeft(account);
    if (account === undefined) {
      this.#makeRoom();
    }
    return this.#opened(peer, account ?? { inFlight: 0, fullAtMs: undefined });
  }

  #requireLeft(account: Account | undefined): void {
    const { inFlightPerPeer, tokensPerMinute } = this.#limits;
    if ((account?.inFlight ?? 0) >= inFlightPerPeer) {
      throw this.#tooMany(`${inFlightPerPeer} requests of the same node are under way here already.`);
    }
    const { waitMs } = leftOfRate(this.#tokens, account?.fullAtMs, this.#nowMs());
    if (waitMs > 0) {
      throw new MeshnodeError(
        'rate_limit_exceeded',
        `A node may use ${tokensPerMinute} tokens a minute here; this one has used them.`,
        { retryAfterSeconds: waitMs / 1000 },
      );
    }
  }

  #opened(peer: string, account: Account): Admitted {
    this.#accounts.delete(peer);
    this.#accounts.set(peer, account);
    account.inFlight++;
    let hasEnded = false;
    return {
      charge: (tokens) => {
        if (!hasEnded) {
          // One answer that claims to be absurdly long must not shut a peer out for days.
          const counted = Math.min(tokens, this.#limits.tokensPerMinute * this.#limits.debtMinutes);
          account.fullAtMs = fullAfterUse(this.#tokens, account.fullAtMs, counted, this.#nowMs());
        }
      },
      end: () => {
        if (!hasEnded) {
          hasEnded = true;
          account.inFlight--;
        }
      },
    };
  }

  /** Before a peer is added: forgets those that owe nothing; if that is nobody, the one idle for longest. */
  #makeRoom(): void {
    const nowMs = this.#nowMs();
    for (const [peer, account] of this.#accounts) {
      if (account.inFlight === 0 && (account.fullAtMs ?? nowMs) <= nowMs) {
        this.#accounts.delete(peer);
      }
    }
    if (this.#accounts.size < this.#limits.meteredPeers) {
      return;
    }
    for (const [peer, { inFlight }] of this.#accounts) {
      if (inFlight === 0) {
        this.#accounts.delete(peer);
        return;
      }
    }
    throw this.#tooMany('Requests of too many nodes are under way here already.');
  }

  #tooMany(message: string): MeshnodeError {
    const { inFlightRetrySeconds } = this.#limits;
    return new MeshnodeError('queue_full', message, { retryAfterSeconds: inFlightRetrySeconds });
  }
}
