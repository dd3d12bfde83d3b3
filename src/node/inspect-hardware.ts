// The hardware of this machine for commands that run without a node: what the system tells, corrected by
// what the engine says it would compute on.
import { detectHardware } from '../engine/hardware/detect.ts';
import type { Hardware } from '../engine/hardware/device.ts';
import type { Clock } from '../util/clock.ts';
import type { Logger } from '../util/logging.ts';
import type { Random } from '../util/random.ts';
import type { Environment } from './config.ts';
import type { NodeConfig } from './config-schema.ts';
import { NativeEngine } from './native-engine.ts';

/** Rejects only when the signal aborts. */
export function inspectHardware(
  components: { clock: Clock; random: Random; log: Logger; environment: Environment },
  config: Pick<NodeConfig, 'maxVram' | 'llamaServer'>,
  signal: AbortSignal,
): Promise<Hardware> {
  const native = new NativeEngine(config, components.environment);
  return detectHardware(native.machine(components), {
    signal,
    ...(config.maxVram === undefined ? {} : { maxVramBytes: config.maxVram }),
  });
}
