// What this machine's memory has been measured to give, remembered over restarts: a figure that only real answers tell.
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import type { LoadFigures } from '../engine/engine.ts';
import type { Hardware } from '../engine/hardware/device.ts';
import { nodeLimits } from '../util/limits/node.ts';
import type { Logger } from '../util/logging.ts';
import { replaceFile } from '../util/replace-file.ts';

const fileShape = z.object({
  version: z.literal(1),
  /** The devices it was measured on: others tell nothing of these. */
  devices: z.string().max(4096),
  bytesPerSecond: z.number().positive(),
});

export class MeasuredBandwidth {
  readonly #path: string;
  readonly #log: Logger;
  #devices = '';
  #bytesPerSecond: number | undefined;

  constructor(path: string, log: Logger) {
    this.#path = path;
    this.#log = log;
  }

  /** Takes up what an earlier run measured, if the devices are the same. */
  async recall(hardware: Hardware): Promise<void> {
    this.#devices = devicesText(hardware);
    const text = await readFile(this.#path, 'utf8').catch(() => '{}');
    const remembered = parse(text);
    if (remembered?.devices === this.#devices) {
      this.#bytesPerSecond ??= remembered.bytesPerSecond;
    }
  }

  /** Bytes a second of the devices that models are on; undefined: nobody has measured it yet. */
  get bytesPerSecond(): number | undefined {
    return this.#bytesPerSecond;
  }

  /**
   * Takes the figures of the models that run. The best of them counts: whatever else the machine had to do made it
   * less, nothing makes it more. Written when it has changed by more than measuring errs.
   */
  update(figures: readonly LoadFigures[]): void {
    const best = Math.max(...figures.map(({ weightBytesPerSecond = 0 }) => weightBytesPerSecond));
    const known = this.#bytesPerSecond ?? 0;
    if (best > known * (1 + nodeLimits.bandwidthStep)) {
      this.#bytesPerSecond = best;
      void this.#write(best);
    }
  }

  async #write(bytesPerSecond: number): Promise<void> {
    const content = JSON.stringify({ version: 1, devices: this.#devices, bytesPerSecond });
    await replaceFile(this.#path, content).catch((err: unknown) =>
      this.#log.warn({ err }, 'the measured bandwidth could not be kept'),
    );
  }
}

/** GPUs, or the CPU where there is none: what models are computed on. */
export function computingDevices({ devices }: Hardware): Hardware['devices'] {
  const gpus = devices.filter(({ kind }) => kind !== 'cpu');
  return gpus.length > 0 ? gpus : devices;
}

function devicesText(hardware: Hardware): string {
  return computingDevices(hardware)
    .map(({ id, name }) => `${id} ${name}`)
    .join(', ')
    .slice(0, 4096);
}

function parse(text: string): z.infer<typeof fileShape> | undefined {
  try {
    return fileShape.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
