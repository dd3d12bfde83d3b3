import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Hardware } from '../../../src/engine/hardware/device.ts';
import { computingDevices, MeasuredBandwidth } from '../../../src/node/bandwidth.ts';
import { silentLogger } from '../../../src/util/logging.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

const folder = await temporaryFolder();
let files = 0;
const newPath = (): string => join(folder, `${++files}.json`);

const device = (kind: 'cpu' | 'cuda', id: string) =>
  ({ id, kind, name: id, totalBytes: 9, usableBytes: 8, unified: false, source: 'system' }) as const;
const machine = (...devices: Hardware['devices']): Hardware => ({
  devices,
  cpu: { model: 'x', logicalCores: 1, allowedCores: 1 },
  memory: { totalBytes: 9, usableBytes: 8 },
  notes: [],
});
const laptop = machine(device('cpu', 'cpu'));

const figures = (weightBytesPerSecond?: number) => ({
  ...{ slots: 1, inFlight: 0, queued: 0, tokensPerSecond: 0, cachedPromptTokens: 0, promptTokens: 0 },
  ...(weightBytesPerSecond === undefined ? {} : { weightBytesPerSecond }),
});

describe('the bandwidth of this machine', () => {
  it('is not known before an answer ran alone', () => {
    const bandwidth = new MeasuredBandwidth(newPath(), silentLogger);
    bandwidth.update([]);
    bandwidth.update([figures()]);
    expect(bandwidth.bytesPerSecond).toBeUndefined();
  });

  it('is the best that was measured, for nothing makes it look better than it is', () => {
    const bandwidth = new MeasuredBandwidth(newPath(), silentLogger);
    bandwidth.update([figures(5e9), figures(9e9)]);
    bandwidth.update([figures(4e9)]);
    expect(bandwidth.bytesPerSecond).toBe(9e9);
  });

  it('is remembered over restarts, as long as the devices are the same', async () => {
    const path = newPath();
    const first = new MeasuredBandwidth(path, silentLogger);
    await first.recall(laptop);
    first.update([figures(9e9)]);
    await expect.poll(() => readFile(path, 'utf8').catch(() => '')).toContain('9000000000');
    const second = new MeasuredBandwidth(path, silentLogger);
    await second.recall(laptop);
    expect(second.bytesPerSecond).toBe(9e9);
    const other = new MeasuredBandwidth(path, silentLogger);
    await other.recall(machine(device('cuda', 'card'), device('cpu', 'cpu')));
    expect(other.bytesPerSecond).toBeUndefined();
  });

  it('starts afresh from a file that is broken', async () => {
    const path = newPath();
    await writeFile(path, '{"version":1,"devices":"cpu cpu","bytesPerSecond":"much"}');
    const bandwidth = new MeasuredBandwidth(path, silentLogger);
    await bandwidth.recall(laptop);
    expect(bandwidth.bytesPerSecond).toBeUndefined();
  });

  it('is that of the GPUs where there are some, else of the CPU', () => {
    const card = device('cuda', 'card');
    expect(computingDevices(machine(card, device('cpu', 'cpu')))).toEqual([card]);
    expect(computingDevices(laptop)).toHaveLength(1);
  });
});
