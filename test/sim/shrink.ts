// Cuts a failing scenario down: leaves out whatever is not needed for the same invariant to fail.
import { type Outcome, runScenario } from './simulation.ts';

const noTrace = { traceLines: 0 };

/** The outcome of the smallest scenario found within `attempts` runs; `outcome` itself if it did not fail. */
export function shrink(outcome: Outcome, attempts: number, traceLines: number): Outcome {
  const { failure } = outcome;
  let { scenario } = outcome;
  if (failure === undefined) {
    return outcome;
  }
  let left = attempts;
  for (let size = scenario.actions.length >> 1; size >= 1; size >>= 1) {
    for (let start = scenario.actions.length - size; start >= 0 && left > 0; start -= size) {
      const actions = scenario.actions.toSpliced(start, size);
      left -= 1;
      if (runScenario({ ...scenario, actions }, noTrace).failure?.invariant === failure.invariant) {
        scenario = { ...scenario, actions };
      }
    }
  }
  return runScenario(scenario, { traceLines });
}
