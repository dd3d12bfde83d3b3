// What no attack may change, looked at before it, while it lasts and afterwards: the tables of honest members, the
// victim's life and memory, and how quickly it answers one of them.
import { expect } from 'vitest';
import { sleep, systemClock } from '../../src/util/clock.ts';
import { nodeLimits } from '../../src/util/limits/node.ts';
import type { MeshProcess } from './mesh-process.ts';
import { liveBytes, longestPauseMs } from './node-probe.ts';

const MiB = 1024 * 1024;

/** Memory that one attack may take while it lasts: buffers within their limits, and garbage not yet collected. */
export const attackMemoryBytes = 128 * MiB;
/** Memory in use, no garbage counted, that it may leave behind: buffers of links that are still open, all within limits. */
export const leftBytes = 32 * MiB;
/** The same of all attacks on one victim together: what each of them leaks adds up. */
export const leftInAllBytes = 48 * MiB;
/** Resident memory that they may leave behind together: also what is not JavaScript's, and pages that are not given back. */
export const leftResidentBytes = 160 * MiB;

/** How much longer a round trip may take under attack, in the middle of all that were measured. */
export const attackSlowdown = 25;
/**
 * So long no member may go unanswered under attack, and the victim not stand still. A round trip that takes more than
 * `shownRttMs` is given up and begun anew.
 */
export const outageMs = 3_000;
/** How much longer a round trip may take after an attack, half of the time ... */
export const slowdownAfter = 3;
/** ... that it is measured without pause. */
export const measuredAfterMs = 100;
/** No round trip may take so long then. */
export const slowestAfterMs = 1_000;
/** Time for a victim to become that quick again: it has taken in work, and shares the machine with the attacker. */
export const recoveryMs = 5_000;
/** Round trips on a quiet loopback that are shorter count as this: below it a busy machine measures itself. */
export const quietFloorMs = 4;

const samplesBefore = 9;
const leastSamplesDuring = 5;
/** Between two of them: without it, those who measure take the machine from those who attack. */
const samplePauseMs = 5;

export interface WatchedMesh {
  /** Started with `probed`. */
  readonly victim: MeshProcess;
  /** An honest member, which measures. */
  readonly witness: MeshProcess;
}

export interface WatchOptions {
  /** Peers that may come and go in the tables: members in their own right. Looked at when the attack is over as well. */
  readonly except?: ReadonlySet<string>;
}

/** Runs an attack and checks what it must not do. Resolves with what it resolves with. */
export async function watched<T>(
  { victim, witness }: WatchedMesh,
  attack: () => Promise<T>,
  { except = new Set() }: WatchOptions = {},
): Promise<T> {
  const tables = () => Promise.all([victim, witness].map((node) => node.table(except)));
  const tablesBefore = await tables();
  const memory = await MemoryWatch.begin(victim);
  const quiet: number[] = [];
  while (quiet.length < samplesBefore) {
    quiet.push(await answerMs(witness, victim));
  }
  const unhurriedMs = Math.max(median(quiet), quietFloorMs);

  await longestPauseMs(victim);
  const during: number[] = [];
  let over = false;
  const measuring = (async () => {
    do {
      during.push(await witness.rttTo(victim.peerId));
      await sleep(systemClock, samplePauseMs);
    } while (!over || during.length < leastSamplesDuring);
  })();
  let result: T;
  try {
    result = await attack();
  } finally {
    over = true;
    await measuring;
  }

  expect(victim.isAlive, 'the process lives').toBe(true);
  const pauseMs = await longestPauseMs(victim);
  expect(await tables(), 'the tables are as they were').toEqual(tablesBefore);
  expect(median(during), 'under attack, a round trip in ms').toBeLessThan(attackSlowdown * unhurriedMs);
  expect(pauseMs, 'ms for which the victim stood still').toBeLessThan(outageMs);
  expect(longestRun(during, Infinity) * nodeLimits.shownRttMs, 'ms without an answer').toBeLessThan(outageMs);
  await becomesAsQuick(witness, victim, slowdownAfter * unhurriedMs);
  await memory.end();
  return result;
}

/** Waits until round trips are short again. */
async function becomesAsQuick(witness: MeshProcess, victim: MeshProcess, mostMs: number): Promise<void> {
  const deadlineMs = systemClock.monotonicMs() + recoveryMs;
  const isQuick = (): boolean => medianOfTime(measured) <= mostMs && Math.max(...measured) < slowestAfterMs;
  let measured: number[];
  do {
    const endMs = systemClock.monotonicMs() + measuredAfterMs;
    measured = [];
    do {
      measured.push(await answerMs(witness, victim));
    } while (systemClock.monotonicMs() < endMs);
  } while (!isQuick() && systemClock.monotonicMs() < deadlineMs);
  expect(medianOfTime(measured), 'after the attack, a round trip in ms').toBeLessThanOrEqual(mostMs);
  expect(Math.max(...measured), 'after the attack, the longest round trip in ms').toBeLessThan(
    slowestAfterMs,
  );
}

/** Memory of one victim, over all attacks on it. */
class MemoryWatch {
  static readonly #ofVictims = new WeakMap<MeshProcess, MemoryWatch>();
  readonly #victim: MeshProcess;
  /** Before the first attack. */
  readonly #first: { readonly liveBytes: number; readonly residentBytes: number };
  /** After the last one. */
  #liveBytes: number;

  private constructor(victim: MeshProcess, first: { liveBytes: number; residentBytes: number }) {
    this.#victim = victim;
    this.#first = first;
    this.#liveBytes = first.liveBytes;
  }

  static async begin(victim: MeshProcess): Promise<{ end: () => Promise<void> }> {
    const known = MemoryWatch.#ofVictims.get(victim);
    const watch =
      known ??
      new MemoryWatch(victim, {
        liveBytes: await liveBytes(victim),
        residentBytes: await victim.residentBytes(),
      });
    MemoryWatch.#ofVictims.set(victim, watch);
    const residentBytes = await victim.residentBytes();
    return { end: () => watch.#end(residentBytes) };
  }

  async #end(residentBefore: number): Promise<void> {
    const peakBytes = await this.#victim.peakBytes();
    const before = this.#liveBytes;
    this.#liveBytes = await liveBytes(this.#victim);
    const residentBytes = await this.#victim.residentBytes();
    expect(peakBytes - residentBefore, 'bytes more while it lasted').toBeLessThan(attackMemoryBytes);
    expect(this.#liveBytes - before, 'bytes in use that it left').toBeLessThan(leftBytes);
    expect(this.#liveBytes - this.#first.liveBytes, 'bytes in use that all left').toBeLessThan(
      leftInAllBytes,
    );
    expect(residentBytes - this.#first.residentBytes, 'resident bytes that all left').toBeLessThan(
      leftResidentBytes,
    );
  }
}

/**
 * How long the victim takes to open a stream and to answer on it; Infinity if too long. For when this process has
 * nothing else to do: what the witness measures by itself is only the answer, but does not depend on who asks it.
 */
async function answerMs(witness: MeshProcess, victim: MeshProcess): Promise<number> {
  const startMs = systemClock.monotonicMs();
  const rttMs = await witness.rttTo(victim.peerId);
  return Number.isFinite(rttMs) ? systemClock.monotonicMs() - startMs : rttMs;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

/**
 * How long the round trip takes that is under way at any moment. Where one follows the other, a node that stands still
 * most of the time answers many between two long ones: their plain median would not show it.
 */
function medianOfTime(roundTripsMs: readonly number[]): number {
  const sorted = [...roundTripsMs].sort((a, b) => a - b);
  const spent = (ms: number): number => Math.min(ms, nodeLimits.shownRttMs);
  let left = sorted.reduce((sum, ms) => sum + spent(ms), 0) / 2;
  return (
    sorted.find((ms) => {
      left -= spent(ms);
      return left <= 0;
    }) ?? Number.NaN
  );
}

/** How often `value` comes without another between, at most. */
function longestRun(values: readonly number[], value: number): number {
  let [run, longest] = [0, 0];
  for (const one of values) {
    run = one === value ? run + 1 : 0;
    longest = Math.max(longest, run);
  }
  return longest;
}
