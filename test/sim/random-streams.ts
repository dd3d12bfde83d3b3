// Randomness for a simulation: one stream a purpose, so that a draw more in one place changes nothing elsewhere.
import { type Random, seededRandom } from '../../src/util/random.ts';

/** The stream of `purpose` under `seed`. */
export function randomStream(seed: number, purpose: string): Random {
  let mixed = seed ^ 0x9e3779b9;
  for (let index = 0; index < purpose.length; index += 1) {
    mixed = Math.imul(mixed ^ purpose.charCodeAt(index), 0x01000193);
  }
  return seededRandom(mixed);
}

export function chance(random: Random, probability: number): boolean {
  return random.float() < probability;
}

/** Uniform from `low` up to `high`, a fraction. */
export function between(random: Random, low: number, high: number): number {
  return low + random.float() * (high - low);
}

/** A whole number from `low` to `high`, both possible. */
export function integerBetween(random: Random, low: number, high: number): number {
  return low + Math.floor(random.float() * (high - low + 1));
}

/** One of `list`; undefined if there is none. */
export function pick<T>(random: Random, list: readonly T[]): T | undefined {
  return list[Math.floor(random.float() * list.length)];
}

/** All of `list` in a random order. */
export function shuffled<T>(random: Random, list: readonly T[]): T[] {
  return list
    .map((item) => ({ item, place: random.float() }))
    .sort((one, other) => one.place - other.place)
    .map(({ item }) => item);
}
