// Whether joining has come to something: the first admission settles it, a refusal with a reason does, and so
// does having tried everybody in vain.
import type { PeerId } from '../trust/keys.ts';
import { raceSignal, withTimeout } from '../util/async.ts';
import type { Clock } from '../util/clock.ts';
import { type ErrorCode, MeshnodeError } from '../util/errors.ts';
import { meshLimits } from '../util/limits/mesh.ts';
import type { MembershipNotice } from './membership-events.ts';

export class JoinWatch {
  readonly #untried: Set<PeerId>;
  readonly #attempts: string[] = [];
  /** Dials that came to nothing, by peer. */
  readonly #silences = new Map<PeerId, number>();
  readonly #result = Promise.withResolvers<void>();
  #lastCode: ErrorCode = 'join_failed';

  /** `bootstrap` are the peers that the invite names. */
  constructor(bootstrap: readonly PeerId[]) {
    this.#untried = new Set(bootstrap);
    this.#result.promise.catch(() => {}); // Whoever wants to know asks.
  }

  notice(notice: MembershipNotice): void {
    if (notice.type === 'joined') {
      this.#result.resolve();
    } else if (notice.type === 'refused' || notice.type === 'rejected') {
      this.#failed(notice.peer, notice.code, notice.message);
    }
  }

  /** Whoever does not answer is asked once more: packets are lost, and machines are busy. */
  dialFailed(peer: PeerId, code: ErrorCode, message: string): void {
    const silences = (this.#silences.get(peer) ?? 0) + 1;
    this.#silences.set(peer, silences);
    if (code !== 'peer_unreachable' || silences >= meshLimits.joinDials) {
      this.#failed(peer, code, message);
    }
  }

  /** Settles as joining does; `join_failed` if that takes too long. */
  result(clock: Clock, signal?: AbortSignal): Promise<void> {
    const tooLong = (): MeshnodeError =>
      this.#error('join_failed', 'Nobody of the mesh has answered in time.');
    return withTimeout(clock, meshLimits.joinMs, raceSignal(this.#result.promise, signal), tooLong);
  }

  /** One way into the mesh is closed; the last one decides. */
  #failed(peer: PeerId, code: ErrorCode, message: string): void {
    if (!this.#untried.delete(peer)) {
      return;
    }
    this.#attempts.push(`${peer}: ${message}`);
    // What one member says of the token the next one will say as well.
    const isUnreachable = code === 'peer_unreachable' || code === 'stream_broken' || code === 'join_failed';
    this.#lastCode = isUnreachable ? this.#lastCode : code;
    if (this.#untried.size === 0) {
      const said =
        isUnreachable && this.#lastCode === 'join_failed' ? 'No node of the invite can be reached.' : message;
      this.#result.reject(this.#error(this.#lastCode, said));
    }
  }

  #error(code: ErrorCode, message: string): MeshnodeError {
    return new MeshnodeError(code, message, { data: { attempts: this.#attempts } });
  }
}
