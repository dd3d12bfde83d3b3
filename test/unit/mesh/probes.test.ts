import { describe, expect, it } from 'vitest';
import { Probes } from '../../../src/mesh/probes.ts';
import { beatLimits } from '../../../src/util/limits/mesh.ts';

const nonce = Uint8Array.of(1, 2, 3);

describe('a probe that is followed', () => {
  it('is answered once, to who asked, with what he asked', () => {
    const probes = new Probes();
    probes.follow('asker', nonce, 'beat', 0);
    expect(probes.answered('other beat', 100)).toBeUndefined();
    expect(probes.answered('beat', 100)).toMatchObject({ asker: 'asker', nonce });
    expect(probes.answered('beat', 100)).toBeUndefined();
  });

  it('is not answered when nobody waits for it any more', () => {
    const probes = new Probes();
    probes.follow('asker', nonce, 'in time', 0);
    probes.follow('asker', nonce, 'late', 0);
    expect(probes.answered('in time', beatLimits.probeMs)).toBeDefined();
    expect(probes.answered('late', beatLimits.probeMs + 1)).toBeUndefined();
  });
});

describe('a flood of probes', () => {
  const flood = (probes: Probes, asker: string, atMs: number): number => {
    let followed = 0;
    for (let count = 0; count < 100; count++) {
      if (probes.mayFollow(asker, atMs)) {
        probes.follow(asker, nonce, `${asker} ${atMs} ${count}`, atMs);
        followed++;
      }
    }
    return followed;
  };

  it('of one member is followed so often within the time after which he would ask again', () => {
    const probes = new Probes();
    expect(flood(probes, 'one', 0)).toBe(beatLimits.probes);
    expect(flood(probes, 'one', beatLimits.reprobeMs - 1)).toBe(0);
    expect(flood(probes, 'other', 0)).toBe(beatLimits.probes);
    expect(flood(probes, 'one', beatLimits.reprobeMs)).toBe(beatLimits.probes);
  });

  it('of many members is followed so often in all, until they are forgotten', () => {
    const probes = new Probes();
    const askers = Array.from({ length: 40 }, (_, index) => `asker ${index}`);
    const followed = askers.map((asker) => flood(probes, asker, 0)).reduce((sum, count) => sum + count);
    expect(followed).toBe(beatLimits.probesInAll);
    probes.tidy(beatLimits.reprobeMs);
    expect(flood(probes, 'asker 0', beatLimits.reprobeMs)).toBe(beatLimits.probes);
  });
});
