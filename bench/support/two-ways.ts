// One engine asked in two ways in the same run, alternating, so that the noise of the machine hits both alike.
import type { BenchRow } from './report.ts';
import { median } from './statistics.ts';
import { StreamClient, type StreamFigures } from './stream-client.ts';

export const streamCounts = [1, 8, 32];
/** Alternating rounds of each stream count. */
export const rounds = 5;

/** Asks for a single token, one way. */
export type Ask = () => Promise<StreamFigures>;

export interface Clients {
  readonly direct: StreamClient;
  readonly through: StreamClient;
}

export function clientsFor(direct: string, through: string, model: string): Clients {
  const connections = Math.max(...streamCounts);
  return {
    direct: new StreamClient({ origin: direct, model }, connections),
    through: new StreamClient({ origin: through, model }, connections),
  };
}

/** Milliseconds to the first byte, of each way. */
export async function firstBytes(ask: { direct: Ask; through: Ask; bare?: Ask }, samples: number) {
  const direct: number[] = [];
  const through: number[] = [];
  const bare: number[] = [];
  for (let sample = 0; sample < samples; sample++) {
    direct.push((await ask.direct()).firstByteMs);
    through.push((await ask.through()).firstByteMs);
    if (ask.bare !== undefined) {
      bare.push((await ask.bare()).firstByteMs);
    }
  }
  return { direct, through, bare };
}

export async function rateRow(
  { direct, through }: Clients,
  streams: number,
  tokens: number,
  what: string,
  target: number | undefined,
): Promise<BenchRow> {
  const directRates: number[] = [];
  const throughRates: number[] = [];
  for (let round = 0; round < rounds; round++) {
    directRates.push(await direct.tokensPerSecond(streams, tokens));
    throughRates.push(await through.tokensPerSecond(streams, tokens));
  }
  return ratioRow(what, throughRates, directRates, target);
}

export function ratioRow(
  what: string,
  throughRates: readonly number[],
  directRates: readonly number[],
  target: number | undefined,
): BenchRow {
  const ratio = median(throughRates) / median(directRates);
  return {
    measure: `tokens/s, ${what}`,
    value: `${median(throughRates).toFixed(0)} (${ratio.toFixed(3)} of direct)`,
    against: `direct: ${median(directRates).toFixed(0)}`,
    target: target === undefined ? '' : `>= ${target}`,
    ...(target === undefined ? {} : { met: ratio >= target }),
    samples: throughRates,
  };
}
