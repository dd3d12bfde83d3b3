import { describe, expect, it } from 'vitest';
import { chooseWorkers } from '../../../src/placement/choose-workers.ts';
import type { OwnDevices, PlacementDevice } from '../../../src/placement/devices.ts';
import type { WorkerDevice } from '../../../src/placement/split.ts';
import { StageSizes } from '../../../src/placement/stage-sizes.ts';
import { equalUnits } from '../../support/equal-units.ts';

const ten = new StageSizes(equalUnits(10));
const nothingOwn: OwnDevices = { cpu: undefined, gpus: [] };

function device(name: string, usableBytes: number, kind = 'cuda'): PlacementDevice {
  return { peerId: name, nodeName: name, name, kind, index: 0, usableBytes, bandwidthBytes: undefined };
}

/** Workers called by their round trip and memory, e.g. `5 ms 60`, as they are sorted. */
function workers(...texts: string[]): WorkerDevice[] {
  return texts.map((text) => {
    const [rttMs, bytes] = text.split(' ms ').map(Number);
    return { device: device(text, bytes ?? 0), rttMs: rttMs ?? 0 };
  });
}

function choice(own: OwnDevices, lent: WorkerDevice[], most = 15): string[] | undefined {
  return chooseWorkers(ten, own, lent, most)?.map((worker) => worker.device.name);
}

describe('the workers of a host', () => {
  it('are the nearest that hold the model', () => {
    expect(choice(nothingOwn, workers('1 ms 50', '2 ms 50', '3 ms 50'))).toEqual(['1 ms 50', '2 ms 50']);
  });

  it('are fewer rather than nearer only if that costs a token less', () => {
    expect(choice(nothingOwn, workers('1 ms 50', '1 ms 60', '2.4 ms 100'))).toEqual(['2.4 ms 100']);
    expect(choice(nothingOwn, workers('1 ms 50', '1 ms 60', '2.6 ms 100'))).toEqual(['1 ms 50', '1 ms 60']);
  });

  it('are not what a greedy choice takes: the nearest may be useless', () => {
    expect(choice(nothingOwn, workers('1 ms 20', '2 ms 20', '3 ms 50', '4 ms 50'))).toEqual([
      '3 ms 50',
      '4 ms 50',
    ]);
  });

  it('are the first of equals', () => {
    expect(choice(nothingOwn, workers('1 ms 50', '1 ms 51', '1 ms 52', '1 ms 53'))).toEqual([
      '1 ms 50',
      '1 ms 51',
    ]);
  });

  it('hold only what the host does not', () => {
    const own = { cpu: device('cpu', 30, 'cpu'), gpus: [device('gpu', 40)] };
    expect(choice(own, workers('1 ms 20', '2 ms 30'))).toEqual(['2 ms 30']);
  });

  it('are one at least, even if the host needs none', () => {
    expect(choice({ cpu: undefined, gpus: [device('gpu', 100)] }, workers('1 ms 10'))).toEqual(['1 ms 10']);
    expect(choice({ cpu: device('cpu', 200, 'cpu'), gpus: [] }, workers('1 ms 10'))).toEqual(['1 ms 10']);
  });

  it('may take a middle part that only they can hold, from a CPU that could hold more', () => {
    const demand = equalUnits(3);
    const units = [10, 10, 30].map((weightsBytes) => ({ weightsBytes, kvBytes: 0, activeBytes: 0 }));
    const own = { cpu: device('cpu', 20, 'cpu'), gpus: [device('gpu', 30)] };
    expect(chooseWorkers(new StageSizes({ ...demand, units }), own, workers('1 ms 10'), 15)).toHaveLength(1);
  });

  it('are no more than a split may have', () => {
    const many = workers(...Array.from({ length: 10 }, (_, index) => `${index} ms 10`));
    expect(choice(nothingOwn, many, 10)).toHaveLength(10);
    expect(choice(nothingOwn, many, 9)).toBeUndefined();
    expect(choice(nothingOwn, [...many, ...workers('70 ms 20')], 9)).toHaveLength(9);
  });

  it('are none where all together do not hold it', () => {
    expect(choice(nothingOwn, workers('1 ms 49', '2 ms 50'))).toBeUndefined();
    expect(choice(nothingOwn, [])).toBeUndefined();
  });
});
