// Which of the links to a peer to use, by what was measured of each. Pure: it opens and measures nothing. It
// keeps to a path until another has been clearly better for a while, and leaves a lost one at once.
import type { PeerId } from '../trust/keys.ts';
import { pathLimits } from '../util/limits/net.ts';
import { FadingWindow } from './fading-window.ts';
import { LinkRtt } from './link-rtt.ts';
import type { PathKind } from './network.ts';

export type PathMeasurement = { readonly rttMs: number } | { readonly bytesPerSecond: number };

export interface PathChoice {
  readonly path: PathKind;
  /** For a person: why this one. */
  readonly reason: string;
}

/** Best first while nothing is measured: broken TCP says so in 10 ms where QUIC needs seconds. */
const preference: readonly PathKind[] = ['memory', 'tcp', 'quic'];

interface PathState {
  readonly rtt: LinkRtt;
  /** Milliseconds that `exchangeBytes` take at the measured throughput. */
  readonly transfer: FadingWindow;
  /** While this path is better than the one in use: since when, and for how many of its measurements. */
  ahead: { readonly sinceMs: number; readonly measurements: number } | undefined;
}

interface PeerState {
  readonly paths: Map<PathKind, PathState>;
  current: PathKind | undefined;
}

export class PathPolicy {
  /** In the order of their last measurement or choice. */
  readonly #peers = new Map<PeerId, PeerState>();

  /** Something was measured on a path to a peer at `nowMs`, a monotonic time. */
  observe(peer: PeerId, path: PathKind, measurement: PathMeasurement, nowMs: number): void {
    const state = this.#state(peer);
    const measured = pathState(state, path);
    if ('rttMs' in measurement) {
      measured.rtt.add(measurement.rttMs, nowMs);
    } else {
      measured.transfer.add((pathLimits.exchangeBytes * 1000) / measurement.bytesPerSecond, nowMs);
    }
    followRivals(state, path, nowMs);
  }

  /** The link of this path is gone: what was measured of it says nothing about the next. */
  lost(peer: PeerId, path: PathKind): void {
    const state = this.#peers.get(peer);
    state?.paths.delete(path);
    if (state?.current === path) {
      state.current = undefined;
    }
  }

  /** The path to use of those `available`; undefined if there is none. */
  choose(peer: PeerId, available: readonly PathKind[], nowMs: number): PathChoice | undefined {
    const state = this.#state(peer);
    const { current } = state;
    if (current === undefined || !available.includes(current)) {
      const first = firstChoice(state, available, nowMs);
      state.current = first?.path;
      return first;
    }
    const rival = rivalOf(state, current, available, nowMs);
    if (rival === undefined) {
      return {
        path: current,
        reason: available.length === 1 ? 'the only link' : 'in use, none clearly better',
      };
    }
    state.current = rival;
    return { path: rival, reason: compared(state, rival, current, nowMs) };
  }

  /** The peer is out of reach, or no longer of interest. */
  forget(peer: PeerId): void {
    this.#peers.delete(peer);
  }

  #state(peer: PeerId): PeerState {
    const state = this.#peers.get(peer) ?? { paths: new Map(), current: undefined };
    this.#peers.delete(peer);
    this.#peers.set(peer, state);
    const [longestAgo] = this.#peers.keys();
    if (this.#peers.size > pathLimits.peers && longestAgo !== undefined) {
      this.#peers.delete(longestAgo);
    }
    return state;
  }
}

function pathState(state: PeerState, path: PathKind): PathState {
  const known = state.paths.get(path);
  if (known !== undefined) {
    return known;
  }
  const fresh = {
    rtt: new LinkRtt(),
    transfer: new FadingWindow(pathLimits.throughputWindow),
    ahead: undefined,
  };
  state.paths.set(path, fresh);
  return fresh;
}

/** After a measurement of `measured`: who is ahead of the path in use, and for how long. */
function followRivals(state: PeerState, measured: PathKind, nowMs: number): void {
  const { current } = state;
  if (current === undefined) {
    return;
  }
  for (const [path, rival] of state.paths) {
    if (!isBetter(state, path, current, nowMs)) {
      rival.ahead = undefined;
    } else if (path === measured) {
      rival.ahead = {
        sinceMs: rival.ahead?.sinceMs ?? nowMs,
        measurements: (rival.ahead?.measurements ?? 0) + 1,
      };
    }
  }
}

/** Where to begin: the preferred path, unless another is measured to be clearly better. */
function firstChoice(
  state: PeerState,
  available: readonly PathKind[],
  nowMs: number,
): PathChoice | undefined {
  const [first, ...others] = preference.filter((path) => available.includes(path));
  if (first === undefined) {
    return undefined;
  }
  const best = others.reduce((best, path) => (isBetter(state, path, best, nowMs) ? path : best), first);
  if (best !== first) {
    return { path: best, reason: compared(state, best, first, nowMs) };
  }
  return {
    path: first,
    reason: others.length === 0 ? 'the only link' : `${first} first, none clearly better`,
  };
}

/** A path that has been better than the one in use for long enough, if there is one. */
function rivalOf(
  state: PeerState,
  current: PathKind,
  available: readonly PathKind[],
  nowMs: number,
): PathKind | undefined {
  return available.find((path) => {
    const ahead = state.paths.get(path)?.ahead;
    return (
      ahead !== undefined &&
      ahead.measurements >= pathLimits.rivalMeasurements &&
      nowMs - ahead.sinceMs >= pathLimits.rivalMs &&
      isBetter(state, path, current, nowMs)
    );
  });
}

/** Whether `rival` is clearly better than `other`. What is not measured is neither better nor worse. */
function isBetter(state: PeerState, rival: PathKind, other: PathKind, nowMs: number): boolean {
  const costs = exchangeTimes(state, rival, other, nowMs);
  return (
    costs !== undefined &&
    costs.rivalMs <= costs.otherMs * pathLimits.rivalShare &&
    costs.rivalMs <= costs.otherMs - pathLimits.rivalGainMs
  );
}

/** What an exchange takes on each: the median round trip, and the time of its bytes if known of both. */
function exchangeTimes(
  state: PeerState,
  rival: PathKind,
  other: PathKind,
  nowMs: number,
): { rivalMs: number; otherMs: number } | undefined {
  const [a, b] = [state.paths.get(rival), state.paths.get(other)];
  const [rivalMs, otherMs] = [a?.rtt.p50(nowMs), b?.rtt.p50(nowMs)];
  if (rivalMs === undefined || otherMs === undefined) {
    return undefined;
  }
  const [rivalTransferMs, otherTransferMs] = [
    a?.transfer.quantile(0.5, nowMs),
    b?.transfer.quantile(0.5, nowMs),
  ];
  return rivalTransferMs === undefined || otherTransferMs === undefined
    ? { rivalMs, otherMs }
    : { rivalMs: rivalMs + rivalTransferMs, otherMs: otherMs + otherTransferMs };
}

function compared(state: PeerState, better: PathKind, other: PathKind, nowMs: number): string {
  const times = exchangeTimes(state, better, other, nowMs);
  return times === undefined
    ? `${better} is better than ${other}`
    : `${better} takes ${times.rivalMs.toFixed(1)} ms, ${other} ${times.otherMs.toFixed(1)} ms`;
}
