// How fast a placement generates, before it is loaded. Pure arithmetic: one stream reads every active weight once a
// token, and each worker costs its round trip.
import { placementLimits } from '../util/limits/placement.ts';
import type { PlacementDevice } from './devices.ts';
import type { Stage } from './split.ts';

export interface Estimate {
  /** For one stream; undefined while the bandwidth of a device is not known. */
  readonly tokensPerSecond: number | undefined;
  /** Devices whose bandwidth nobody has measured. */
  readonly unmeasured: readonly PlacementDevice[];
  /** What the round trips alone allow, were every device endlessly fast; undefined without any. */
  readonly roundTripTokensPerSecond: number | undefined;
}

export function estimateSpeed(stages: readonly Stage[]): Estimate {
  const workers = stages.filter(({ place }) => place === 'worker');
  const roundTripMs = workers.reduce((sum, { rttMs }) => sum + rttMs, 0);
  const unmeasured = stages
    .map(({ device }) => device)
    .filter(({ bandwidthBytes }) => bandwidthBytes === undefined);
  const readMs = stages.reduce(
    (sum, { activeBytes, device }) => sum + (activeBytes / (device.bandwidthBytes ?? Number.NaN)) * 1000,
    0,
  );
  const tokenMs = readMs + roundTripMs + workers.length * placementLimits.stageMs;
  return {
    tokensPerSecond: tokenMs > 0 ? 1000 / tokenMs : undefined,
    unmeasured,
    roundTripTokensPerSecond: roundTripMs > 0 ? 1000 / roundTripMs : undefined,
  };
}
