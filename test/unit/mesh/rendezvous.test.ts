import { describe, expect, it } from 'vitest';
import { isNeighbour, pairScore } from '../../../src/mesh/rendezvous.ts';

const all = Array.from({ length: 200 }, (_, number) => `peer-${number}`);
const neighboursOf = (peer: string, most: number): string[] =>
  all.filter((other) => other !== peer && isNeighbour(other, peer, all, most));

describe('rendezvous', () => {
  it('scores a pair alike from both ends', () => {
    expect(pairScore('a', 'b')).toBe(pairScore('b', 'a'));
    expect(pairScore('a', 'b')).not.toBe(pairScore('a', 'c'));
  });

  it('gives everybody as many neighbours as wanted, those with the lowest scores', () => {
    for (const peer of all.slice(0, 10)) {
      const chosen = neighboursOf(peer, 12);
      const scores = all.filter((other) => other !== peer).map((other) => pairScore(peer, other));
      expect(chosen.map((other) => pairScore(peer, other)).sort()).toEqual(scores.sort().slice(0, 12));
    }
  });

  it('chooses nobody much oftener than others', () => {
    const times = new Map<string, number>();
    for (const chosen of all.flatMap((peer) => neighboursOf(peer, 12))) {
      times.set(chosen, (times.get(chosen) ?? 0) + 1);
    }
    expect(times.size).toBe(all.length);
    expect(Math.max(...times.values())).toBeLessThan(36);
  });
});
