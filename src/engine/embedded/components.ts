// What the embedded engine is built with. Types only.
import type { Clock } from '../../util/clock.ts';
import type { Logger } from '../../util/logging.ts';
import type { Random } from '../../util/random.ts';
import type { ProcessRegistry } from '../process-registry.ts';

export interface EmbeddedEngineComponents {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Remembers our processes for the sweep at the next start. */
  readonly registry?: ProcessRegistry;
}
