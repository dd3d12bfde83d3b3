// The hardware of this machine for commands that run without a node: what the system tells, corrected by
// what the embedded engine says it would compute on.
import { embeddedDevices } from '../engine/embedded/embedded.ts';
import { detectHardware } from '../engine/hardware/detect.ts';
import type { Hardware } from '../engine/hardware/device.ts';
import { thisMachine } from '../engine/hardware/system-source.ts';
import type { Clock } from '../util/clock.ts';
import type { Logger } from '../util/logging.ts';
import type { Random } from '../util/random.ts';

/** `maxVramBytes` is the owner's bound (`--max-vram`). Rejects only when the signal aborts. */
export function inspectHardware(
  components: { clock: Clock; random: Random; log: Logger },
  maxVramBytes: number | undefined,
  signal: AbortSignal,
): Promise<Hardware> {
  const source = { ...thisMachine(), engineDevices: () => embeddedDevices(components, signal) };
  return detectHardware(source, { signal, ...(maxVramBytes === undefined ? {} : { maxVramBytes }) });
}
