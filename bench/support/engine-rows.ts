// The rows of the bench of the engines: a way each, compared with the bare library.
import type { RoundFigures } from './engine-round.ts';
import { bareLibrary } from './engine-ways.ts';
import type { BenchRow } from './report.ts';
import { median, spread } from './statistics.ts';

/** What was found for each way, by its name. */
export type PerWay<Found> = ReadonlyMap<string, readonly Found[]>;

/** Samples in milliseconds. */
export function timeRows(measure: string, samples: PerWay<number>): BenchRow[] {
  return comparedRows(measure, samples, 'ms');
}

/** Tokens a second of rounds of `tokens` in each stream. */
export function rateRows(measure: string, figures: PerWay<RoundFigures>, tokens: number): BenchRow[] {
  const rates = [...figures].map(
    ([way, found]) =>
      [way, found.map(({ texts, totalMs }) => (texts.length * tokens * 1000) / totalMs)] as const,
  );
  return comparedRows(measure, new Map(rates), 'tokens/s');
}

function comparedRows(measure: string, samples: PerWay<number>, unit: string): BenchRow[] {
  const bareMedian = median(samples.get(bareLibrary.name) ?? []);
  return [...samples].map(([way, own]) => {
    const row = { measure: `${measure}, ${way}`, value: spread(own, unit, 1), target: '', samples: own };
    const ratio = (median(own) / bareMedian).toFixed(3);
    return way === bareLibrary.name
      ? { ...row, against: '' }
      : {
          ...row,
          value: `${row.value}, ${ratio} of bare`,
          against: `bare: ${bareMedian.toFixed(1)} ${unit}`,
        };
  });
}

/** How many of all streams' texts are those of the bare library. */
export function sameTextRows(measure: string, figures: PerWay<RoundFigures>): BenchRow[] {
  const textsOf = (way: string): string[] => (figures.get(way) ?? []).flatMap(({ texts }) => texts);
  const bareTexts = textsOf(bareLibrary.name);
  const others = [...figures.keys()].filter((way) => way !== bareLibrary.name);
  return others.map((way) => {
    const texts = textsOf(way);
    const same = texts.filter((text, stream) => text === bareTexts[stream]).length;
    return {
      measure: `${measure}, ${way}`,
      value: `${same} of ${texts.length} streams`,
      against: 'bare',
      target: '',
      samples: [],
    };
  });
}
