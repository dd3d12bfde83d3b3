import { describe, expect, it } from 'vitest';
import { layOut } from '../../../src/placement/lay-out.ts';
import { StageSizes } from '../../../src/placement/stage-sizes.ts';
import { equalUnits } from '../../support/equal-units.ts';

const worker = (usableBytes: number) => ({ usableBytes, holdsHost: false, leastUnits: 1 as const });
const own = (usableBytes: number) => ({ usableBytes, holdsHost: false, leastUnits: 0 as const });
const ten = new StageSizes(equalUnits(10));

describe('a layout', () => {
  it('gives units in proportion to memory', () => {
    expect(layOut(ten, [worker(120), worker(60), own(20)])).toEqual([6, 3, 1]);
  });

  it('evens out the devices that are not the fullest too', () => {
    expect(layOut(ten, [worker(100), worker(100), own(100)])).toEqual([4, 3, 3]);
  });

  it('gives every worker a unit, and a device of the host none if that is better', () => {
    expect(layOut(ten, [worker(10), own(90)])).toEqual([1, 9]);
    expect(layOut(ten, [worker(100), own(9)])).toEqual([10, 0]);
  });

  it('is none where the devices are too small, or a worker would have nothing', () => {
    expect(layOut(ten, [worker(50), own(49)])).toBeUndefined();
    expect(layOut(ten, [worker(9), own(200)])).toBeUndefined();
  });

  it('counts what the output needs more where the output goes', () => {
    const sizes = new StageSizes(equalUnits(4, { outputComputeBytes: 15 }));
    expect(layOut(sizes, [worker(40), own(40)])).toEqual([3, 1]);
  });

  it('counts the buffers of each device that holds anything', () => {
    const sizes = new StageSizes(equalUnits(4, { computeBytes: 5 }));
    expect(layOut(sizes, [worker(25), own(25)])).toEqual([2, 2]);
    expect(layOut(sizes, [worker(24), own(25)])).toBeUndefined();
  });

  it('counts what the host keeps in RAM where it lies in the device', () => {
    const sizes = new StageSizes(equalUnits(4, { embeddingBytes: 15, overheadBytes: 5 }));
    expect(layOut(sizes, [{ ...own(40), holdsHost: true }, worker(40)])).toEqual([1, 3]);
    expect(layOut(sizes, [{ ...own(19), holdsHost: true }, worker(40)])).toBeUndefined();
  });

  it('shares a tied head with the table where both lie in one memory', () => {
    const sizes = new StageSizes(equalUnits(2, { embeddingBytes: 10, tiedBytes: 10 }));
    expect(layOut(sizes, [{ ...own(20), holdsHost: true }])).toEqual([2]);
    expect(layOut(sizes, [{ ...own(19), holdsHost: true }])).toBeUndefined();
  });

  it('keeps to the most that a device shall hold', () => {
    expect(layOut(ten, [{ ...own(100), mostUnits: 2 }, worker(100)])).toEqual([2, 8]);
    expect(layOut(ten, [{ ...own(100), mostUnits: 2 }, worker(70)])).toBeUndefined();
  });
});
