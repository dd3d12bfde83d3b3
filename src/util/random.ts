// The one place that draws randomness. Decisions take a Random; secrets always come from systemRandom.
import { randomBytes } from 'node:crypto';

/** Source of randomness. */
export interface Random {
  /** `length` random bytes. */
  bytes(length: number): Uint8Array;
  /** Uniform in [0, 1). */
  float(): number;
}

/** Cryptographically secure randomness of the machine. */
export const systemRandom: Random = {
  bytes: (length) => new Uint8Array(randomBytes(length)),
  float: () => randomBytes(6).readUIntBE(0, 6) / 2 ** 48,
};

/**
 * Deterministic randomness from a 32-bit seed (the mulberry32 generator): the same seed gives the
 * same sequence on every platform. Never for secrets.
 */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const uint32 = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  return {
    bytes: (length) => Uint8Array.from({ length }, () => uint32() >>> 24),
    float: () => uint32() / 2 ** 32,
  };
}

const idAlphabet = '0123456789abcdefghijklmnopqrstuvwxyz';

/** A lower-case alphanumeric id of `length` characters, about 5.17 bits each (slightly biased: ids, not keys). */
export function randomId(random: Random, length: number): string {
  let id = '';
  for (const byte of random.bytes(length)) {
    id += idAlphabet[byte % idAlphabet.length];
  }
  return id;
}
