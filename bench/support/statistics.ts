// The few statistics that benches quote.

/** The smallest sample that `share` of all samples do not exceed; NaN of none. */
export function percentile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

export function median(samples: readonly number[]): number {
  return percentile(samples, 0.5);
}

/** `p50 / p99 / max` where there are enough samples for a p99, else `p50 / max`. */
export function spread(samples: readonly number[], unit: string, digits = 2): string {
  const shown = (value: number): string => `${value.toFixed(digits)} ${unit}`;
  const most = Math.max(...samples);
  return samples.length >= 100
    ? `p50 ${shown(median(samples))}, p99 ${shown(percentile(samples, 0.99))}, max ${shown(most)}`
    : `p50 ${shown(median(samples))}, max ${shown(most)} (${samples.length} samples)`;
}
