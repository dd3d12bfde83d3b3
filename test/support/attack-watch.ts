// What no attack may change, looked at while one is under way: the victim's table, its memory, its life, and how
// quickly it answers an honest member.
import { expect } from 'vitest';
import type { MeshProcess } from './mesh-process.ts';

/** Memory that one attack may leave behind at most: buffers within their limits, and garbage not yet collected. */
export const attackMemoryBytes = 128 * 1024 * 1024;
/** How much longer a round trip may take under attack, in the middle of all that were measured. */
export const attackSlowdown = 25;
/** Round trips on a quiet loopback that are shorter count as this: below it a busy machine measures itself. */
export const quietFloorMs = 4;

export interface WatchedMesh {
  readonly victim: MeshProcess;
  /** An honest member, which measures. */
  readonly witness: MeshProcess;
}

export interface WatchOptions {
  /** Peers that may come and go in the table: members in their own right, hostile or not. */
  readonly except?: ReadonlySet<string>;
}

/** Runs an attack and checks what it must not do. Resolves with what it resolves with. */
export async function watched<T>(
  { victim, witness }: WatchedMesh,
  attack: () => Promise<T>,
  { except = new Set() }: WatchOptions = {},
): Promise<T> {
  const tableBefore = await victim.table(except);
  const bytesBefore = await victim.residentBytes();
  const quietMs = median(await roundTrips(witness, victim, 5));
  const measured: number[] = [];
  let over = false;
  const measuring = (async () => {
    do {
      measured.push(...(await roundTrips(witness, victim, 1)));
    } while (!over);
  })();
  let result: T;
  try {
    result = await attack();
  } finally {
    over = true;
    await measuring;
  }
  expect(victim.isAlive, 'the process lives').toBe(true);
  expect(await victim.table(except), 'the table is as it was').toEqual(tableBefore);
  expect((await victim.peakBytes()) - bytesBefore, 'memory in bytes').toBeLessThan(attackMemoryBytes);
  const mostMs = attackSlowdown * Math.max(quietMs, quietFloorMs);
  expect(median(measured), `a round trip of ${quietMs} ms`).toBeLessThan(mostMs);
  return result;
}

async function roundTrips(from: MeshProcess, to: MeshProcess, count: number): Promise<number[]> {
  const measured: number[] = [];
  for (let round = 0; round < count; round++) {
    measured.push(await from.rttTo(to.peerId));
  }
  return measured;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}
