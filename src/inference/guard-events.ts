// Makes a lawful answer out of whatever a source gives: the one place where a broken engine or peer turns
// into an error event, so that nobody behind it has to doubt the order of events.
import { asMeshnodeError, MeshnodeError } from '../util/errors.ts';
import { eventLimits } from '../util/limits/inference.ts';
import type { Logger } from '../util/logging.ts';
import { EventRules } from './event-rules.ts';
import { errorEvent, type InferenceEvent } from './events.ts';
import type { InferenceRequest } from './request.ts';

/**
 * The events of `source` up to its `end` or `error`. A violation, a throw or a missing end becomes one `error`
 * event: `engine_protocol`, or the MeshnodeError that was thrown. Never throws. However it ends, and when the
 * consumer leaves early, the source is closed; a read that is under way then is for the source's signal to end.
 */
export async function* guardEvents(
  request: InferenceRequest,
  source: AsyncIterable<InferenceEvent>,
  { log }: { log: Logger },
): AsyncGenerator<InferenceEvent, void, undefined> {
  const rules = new EventRules(request);
  let progress = 0;
  // Once the consumer has the last event, or has left, a failure to close the source is only for the log.
  let consumerWaits = true;
  try {
    for await (const given of source) {
      if (given.type === 'progress' && ++progress > eventLimits.progress) {
        continue;
      }
      // An engine may misjudge its phase; its error is still the best account of what happened.
      const event = given.type === 'error' ? { ...given, phase: rules.phase } : given;
      const violation = rules.check(event);
      if (violation !== undefined) {
        throw violation;
      }
      consumerWaits = false;
      yield event;
      if (rules.ended) {
        return;
      }
      consumerWaits = true;
    }
    throw new MeshnodeError('engine_protocol', 'The engine stopped in the middle of its answer.');
  } catch (thrown) {
    const error = asMeshnodeError(thrown, 'engine_protocol');
    log.warn({ err: error, requestId: request.requestId }, 'an answer broke off');
    if (consumerWaits) {
      yield errorEvent(error, rules.phase);
    }
  }
}
