// `meshnode gpus`: the devices that can hold models, and how much of each may be used.
import { loadConfig } from '../node/config.ts';
import { inspectHardware } from '../node/inspect-hardware.ts';
import { createLogger } from '../util/logging.ts';
import { formatSize } from '../util/size.ts';
import type { CommandContext } from './command-context.ts';

export async function gpus(context: CommandContext): Promise<number> {
  const { options, environment, output, interrupted } = context;
  const { config } = await loadConfig(options.flags(), environment);
  const log = createLogger(config.logLevel, output.streams.stderr, { pretty: true });
  const hardware = await inspectHardware({ ...context, log }, config, interrupted);
  if (output.json) {
    output.value(hardware);
    return 0;
  }
  output.table(
    ['DEVICE', 'KIND', 'TOTAL', 'FREE', 'USABLE', 'KNOWN FROM'],
    hardware.devices.map((device) => [
      device.name,
      device.kind,
      formatSize(device.totalBytes),
      device.freeBytes === undefined ? '-' : formatSize(device.freeBytes),
      formatSize(device.usableBytes),
      device.source,
    ]),
  );
  const { cpu, memory } = hardware;
  const limit = memory.limitedBy === undefined ? '' : ', limited by the container';
  output.line('');
  output.line(
    `${cpu.allowedCores} of ${cpu.logicalCores} cores · memory ${formatSize(memory.totalBytes)}${limit}`,
  );
  for (const note of hardware.notes) {
    output.say(note);
  }
  return 0;
}
