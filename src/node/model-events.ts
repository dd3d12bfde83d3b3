// Turns changes of models into events: what a reader can tell apart, and progress only a few times a second.
import type { ModelStatus } from '../serving/model-status.ts';
import type { Clock } from '../util/clock.ts';
import { nodeLimits } from '../util/limits/node.ts';
import { type EventLog, modelFact } from './events.ts';

interface Told {
  readonly stage: ModelStatus['stage'];
  readonly fraction: number | undefined;
  readonly error: ModelStatus['error'];
  readonly atMs: number;
}

/** What to call with every change of a model. */
export function modelReporter(events: EventLog, clock: Clock): (status: ModelStatus) => void {
  const toldByName = new Map<string, Told>();
  return (status) => {
    const { name, stage, fraction, error } = status;
    const nowMs = clock.monotonicMs();
    const told = toldByName.get(name);
    const isNews = told?.stage !== stage || told.error !== error;
    const isProgress = told?.fraction !== fraction && nowMs - (told?.atMs ?? 0) >= nodeLimits.progressEventMs;
    if (!isNews && !isProgress) {
      return;
    }
    if (stage === 'unloaded') {
      toldByName.delete(name);
    } else {
      toldByName.set(name, { stage, fraction, error, atMs: nowMs });
    }
    events.emit(modelFact(status));
  };
}
