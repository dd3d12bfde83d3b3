// The names of models in the API: one answer never mixes two files, whatever the nodes claim.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ModelNames, type NamedReplica } from '../../../src/mesh/model-names.ts';

const digestA = 'a'.repeat(64);
const digestB = 'b'.repeat(64);

const replica = (peerId: string, name: string, digest?: string): NamedReplica => ({ peerId, name, digest });

function listed(...replicas: NamedReplica[]): Record<string, string[]> {
  return Object.fromEntries(
    new ModelNames(replicas).list().map((model) => [model.name, model.replicas.map(({ peerId }) => peerId)]),
  );
}

describe('model names', () => {
  it('are the plain names where every node has the same file', () => {
    expect(
      listed(replica('2', 'demo', digestA), replica('1', 'demo', digestA), replica('1', 'other', digestB)),
    ).toEqual({
      demo: ['1', '2'],
      other: ['1'],
    });
  });

  it('give the plain name to the file with most replicas and mark the others with their digest', () => {
    const replicas = [
      replica('1', 'demo', digestA),
      replica('2', 'demo', digestB),
      replica('3', 'demo', digestB),
    ];
    expect(listed(...replicas)).toEqual({ demo: ['2', '3'], 'demo@aaaaaaaa': ['1'] });
    expect(new ModelNames(replicas).resolve('demo@bbbbbbbb')?.name).toBe('demo');
    expect(new ModelNames(replicas).resolve(`demo@${digestA}`)?.digest).toBe(digestA);
  });

  it('give it to the smaller digest where two have as many replicas, counting no node twice', () => {
    expect(
      listed(replica('1', 'demo', digestB), replica('1', 'demo', digestB), replica('2', 'demo', digestA)),
    ).toEqual({ demo: ['2'], 'demo@bbbbbbbb': ['1'] });
  });

  it('show more of digests that begin alike', () => {
    const [one, two] = [`${'c'.repeat(10)}${'1'.repeat(54)}`, `${'c'.repeat(10)}${'2'.repeat(54)}`];
    const replicas = [replica('1', 'demo', one), replica('2', 'demo', two)];
    expect(Object.keys(listed(...replicas))).toEqual(['demo', 'demo@cccccccccc2']);
    expect(new ModelNames(replicas).resolve('demo@cccccccc')?.digest).toBe(one);
  });

  it('let a node without a digest answer to the plain name only where there is no digest, and alone', () => {
    const [first, second] = [replica('12D3a', 'demo'), replica('12D3b', 'demo')];
    expect(listed(second, first)).toEqual({ demo: ['12D3a'], 'demo@12D3b': ['12D3b'] });
    expect(listed(second, first, replica('12D3c', 'demo', digestA))).toEqual({
      demo: ['12D3c'],
      'demo@12D3a': ['12D3a'],
      'demo@12D3b': ['12D3b'],
    });
    expect(new ModelNames([first, second]).resolve('demo@12D3a')?.replicas).toEqual([first]);
  });

  it('resolve nothing that nobody serves, nor by less than eight digits', () => {
    const names = new ModelNames([replica('1', 'demo', digestA)]);
    for (const name of [
      '',
      '@',
      'dem',
      'demo@',
      'demo@aaaaaaa',
      'demo@bbbbbbbb',
      'demo@AAAAAAAA',
      '@aaaaaaaa',
      'constructor',
    ]) {
      expect(names.resolve(name)).toBeUndefined();
    }
  });

  it('cannot be taken over by a model that is called like another one with its digest', () => {
    const names = new ModelNames([
      replica('1', 'demo', digestA),
      replica('2', 'demo', digestB),
      replica('3', 'demo@bbbbbbbb', digestA),
    ]);
    expect(names.resolve('demo@bbbbbbbb')?.digest).toBe(digestB);
    expect(names.resolve('demo@bbbbbbbb@aaaaaaaa')?.replicas.map(({ peerId }) => peerId)).toEqual(['3']);
  });

  const digest = fc
    .tuple(fc.constantFrom('0', '1', '2'), fc.constantFrom('0', '1'), fc.constantFrom('0', '1'))
    .map(([first, middle, last]) => `${first.repeat(8)}${middle.repeat(28)}${last.repeat(28)}`);
  const replicas = fc.array(
    fc.record({
      peerId: fc.nat(9).map((index) => `12D3Koo${index}`),
      name: fc.constantFrom('demo', 'other', 'demo@00000000', 'demo@11111111', 'demo@12D3Koo1'),
      digest: fc.option(digest, { nil: undefined }),
    }),
    { maxLength: 40 },
  );

  it('are unique, resolve to their model, never mix digests and leave no replica out', () => {
    fc.assert(
      fc.property(replicas, (all) => {
        const names = new ModelNames(all);
        const models = names.list();
        expect(new Set(models.map(({ name }) => name)).size).toBe(models.length);
        for (const model of models) {
          expect(names.resolve(model.name)).toBe(model);
          expect(model.replicas.every((one) => one.digest === model.digest)).toBe(true);
          expect(new Set(model.replicas.map(({ name }) => name)).size).toBe(1);
          expect(new Set(model.replicas.map(({ peerId }) => peerId)).size).toBe(model.replicas.length);
          expect(model.digest === undefined && model.replicas.length > 1).toBe(false);
        }
        const identity = ({ peerId, name, digest: hex }: NamedReplica): string => `${peerId} ${name} ${hex}`;
        expect(new Set(models.flatMap((model) => model.replicas.map(identity)))).toEqual(
          new Set(all.map(identity)),
        );
      }),
    );
  });

  it('answer to the plain name with a digest that has as many replicas as any, if there is a digest', () => {
    fc.assert(
      fc.property(replicas, (all) => {
        const main = new ModelNames(all).resolve('other');
        const peersOf = (hex: string): number =>
          new Set(all.filter((one) => one.name === 'other' && one.digest === hex).map(({ peerId }) => peerId))
            .size;
        const digests = all.flatMap((one) => (one.name === 'other' ? (one.digest ?? []) : []));
        const expected = digests.toSorted((a, b) => peersOf(b) - peersOf(a) || (a < b ? -1 : 1))[0];
        expect(main?.digest).toBe(expected);
        expect(main === undefined).toBe(all.every(({ name }) => name !== 'other'));
      }),
    );
  });

  it('do not depend on the order of the replicas', () => {
    fc.assert(
      fc.property(
        replicas.chain((all) =>
          fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length })),
        ),
        ([all, shuffled]) => {
          expect(new ModelNames(shuffled).list()).toEqual(new ModelNames(all).list());
        },
      ),
    );
  });
});
