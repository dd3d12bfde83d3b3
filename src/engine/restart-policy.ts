// When a crashed process is started again, and when no more: pure, no clock, no randomness of its own.
import { engineLimits } from '../util/limits/engine.ts';

/** What is remembered between events. */
export interface RestartState {
  /** Crashes and failed starts in a row. */
  readonly crashes: number;
  /** When the present run became ready; absent while there is none. */
  readonly readySinceMs?: number;
}

export type RestartEvent =
  | { readonly kind: 'ready' }
  /** The run ended, or its start failed. `jitter`, uniform in [0, 1), spreads restarts in time. */
  | { readonly kind: 'crashed'; readonly jitter: number };

export type RestartDecision =
  | { readonly action: 'none' }
  | { readonly action: 'restart'; readonly waitMs: number; readonly attempt: number }
  | { readonly action: 'give-up' };

export const freshRestartState: RestartState = { crashes: 0 };

/**
 * A crash after `restartForgetMs` of uptime counts as the first. The n-th in a row waits
 * `restartMs * 2^(n-1)`, at most `restartMaxMs`, less up to half of it; the `restarts`-th gives up.
 * `nowMs` is monotonic.
 */
export function decideRestart(
  state: RestartState,
  event: RestartEvent,
  nowMs: number,
): [RestartState, RestartDecision] {
  if (event.kind === 'ready') {
    return [{ crashes: state.crashes, readySinceMs: nowMs }, { action: 'none' }];
  }
  const uptimeMs = state.readySinceMs === undefined ? 0 : nowMs - state.readySinceMs;
  const crashes = uptimeMs >= engineLimits.restartForgetMs ? 1 : state.crashes + 1;
  if (crashes >= engineLimits.restarts) {
    return [{ crashes }, { action: 'give-up' }];
  }
  const fullWaitMs = Math.min(engineLimits.restartMs * 2 ** (crashes - 1), engineLimits.restartMaxMs);
  return [{ crashes }, { action: 'restart', attempt: crashes, waitMs: fullWaitMs * (1 - event.jitter / 2) }];
}
