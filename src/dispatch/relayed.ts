// Hands the events of one replica on, and stops waiting for them as soon as the call has a reason to end. It does not
// close its source: that may take as long as an engine takes to stop, and is for whoever opened it.
import type { InferenceEvent } from '../inference/events.ts';
import { engineLimits } from '../util/limits/engine.ts';
import type { Call } from './call.ts';

/** Throws what ends the call, `engine_timeout` included if the source says nothing for too long. */
export async function* relayed(
  source: AsyncIterator<InferenceEvent>,
  call: Call,
  model: string,
): AsyncGenerator<InferenceEvent, void, undefined> {
  call.watchForStall(engineLimits.stallMs, model);
  try {
    for (let step = await nextOf(source, call); step.done !== true; step = await nextOf(source, call)) {
      yield step.value;
    }
  } finally {
    call.endStallWatch();
  }
}

async function nextOf(
  source: AsyncIterator<InferenceEvent>,
  call: Call,
): Promise<IteratorResult<InferenceEvent>> {
  const step = await call.wait(source.next());
  call.answered();
  return step;
}
