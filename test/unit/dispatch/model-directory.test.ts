// Who may answer for a name: exact names, digests, near matches, failures; and what is listed.
import { describe, expect, it } from 'vitest';
import { ModelDirectory, nearMatches } from '../../../src/dispatch/model-directory.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { localReplica, remoteReplica } from '../../support/replicas.ts';
import { thrownBy } from '../../support/thrown.ts';

const [aa, bb] = ['a'.repeat(64), 'b'.repeat(64)];
const peersOf = (replicas: readonly { readonly peerId: string }[]): string[] =>
  replicas.map(({ peerId }) => peerId);

describe('the replicas of a name', () => {
  it('are those of exactly this name, here and elsewhere', () => {
    const directory = new ModelDirectory([
      localReplica({ digest: aa }),
      remoteReplica('ada', { digest: aa }),
      remoteReplica('bob', { name: 'demo-moe', digest: bb }),
    ]);
    expect(peersOf(directory.replicasOf({ name: 'demo' }))).toEqual(['ada', 'here']);
    expect(peersOf(directory.replicasOf({ name: 'demo-moe' }))).toEqual(['bob']);
  });

  it('never mix two digests: the one with more replicas has the name, the other one more digits', () => {
    const directory = new ModelDirectory([
      remoteReplica('cat', { digest: bb }),
      remoteReplica('ada', { digest: aa }),
      remoteReplica('bob', { digest: aa }),
    ]);
    expect(peersOf(directory.replicasOf({ name: 'demo' }))).toEqual(['ada', 'bob']);
    expect(peersOf(directory.replicasOf({ name: 'demo@bbbbbbbb' }))).toEqual(['cat']);
    expect(directory.list().map(({ name }) => name)).toEqual(['demo', 'demo@bbbbbbbb']);
  });

  it('are of this node`s own file where it has one, however many others say that the name is theirs', () => {
    const others = ['ada', 'bob'].map((peer) => remoteReplica(peer, { digest: aa }));
    const own = new ModelDirectory([localReplica({ digest: bb, stage: 'loading' }), ...others]);
    expect(peersOf(own.replicasOf({ name: 'demo' }))).toEqual(['here']);
    expect(peersOf(own.replicasOf({ name: 'demo@aaaaaaaa' }))).toEqual(['ada', 'bob']);
    const attached = new ModelDirectory([localReplica(), ...others]);
    expect(peersOf(attached.replicasOf({ name: 'demo' }))).toEqual(['here']);
    const { status, ...hashed } = localReplica();
    const pending = new ModelDirectory([{ ...hashed, status: { ...status, digest: 'pending' } }, ...others]);
    expect(peersOf(pending.replicasOf({ name: 'demo' }))).toEqual(['ada', 'bob']);
    const failed = new ModelDirectory([localReplica({ digest: bb, stage: 'failed' }), ...others]);
    expect(peersOf(failed.replicasOf({ name: 'demo' }))).toEqual(['ada', 'bob']);
  });

  it('are never those of another model, but near names are told', () => {
    const directory = new ModelDirectory([
      localReplica({ name: 'qwen3-8b' }),
      remoteReplica('ada', { name: 'llama-3.2-1b' }),
    ]);
    const error = thrownBy(() => directory.replicasOf({ name: 'qwen3-4b' }));
    expect(error).toMatchObject({ code: 'model_not_found', details: { param: 'model' } });
    expect(error.message).toContain("'qwen3-8b'");
    expect(error.message).not.toContain('llama');
  });

  it('are none if the weights are others than asked for', () => {
    const directory = new ModelDirectory([localReplica({ digest: aa })]);
    expect(directory.replicasOf({ name: 'demo', digest: aa })).toHaveLength(1);
    const error = thrownBy(() => directory.replicasOf({ name: 'demo', digest: bb }));
    expect(error).toMatchObject({ code: 'model_not_found', message: expect.stringContaining('weights') });
  });

  it('tell why a model failed, but no path of this machine', () => {
    const error = new MeshnodeError('gguf_invalid', '/home/me/demo.gguf is cut short.');
    const directory = new ModelDirectory([localReplica({ stage: 'failed', error })]);
    const thrown = thrownBy(() => directory.replicasOf({ name: 'demo' }));
    expect(thrown.code).toBe('model_failed');
    expect(thrown.message).toContain('gguf_invalid');
    expect(thrown.message).not.toContain('/home/me');
    expect(thrown.hint).toBe(error.hint);
    expect(directory.list()).toEqual([]);
  });

  it('are those of other nodes if it failed here only', () => {
    const directory = new ModelDirectory([localReplica({ stage: 'failed' }), remoteReplica('ada')]);
    expect(peersOf(directory.replicasOf({ name: 'demo' }))).toEqual(['ada']);
  });
});

describe('the replicas for a peer`s request', () => {
  const directory = new ModelDirectory([
    localReplica({ digest: bb }),
    remoteReplica('ada', { digest: aa }),
    remoteReplica('bob', { digest: aa }),
    remoteReplica('bob', { name: 'other', digest: bb }),
  ]);

  it('are this node`s own, by the name that it gives its model itself', () => {
    expect(peersOf(directory.replicasForPeer({ name: 'demo', digest: bb }, true))).toEqual(['here']);
    expect(peersOf(directory.replicasForPeer({ name: 'demo' }, true))).toEqual(['here']);
  });

  it('are others` only where the request may be passed on, and of the weights it names', () => {
    expect(peersOf(directory.replicasForPeer({ name: 'demo', digest: aa }, true))).toEqual(['ada', 'bob']);
    expect(peersOf(directory.replicasForPeer({ name: 'other' }, true))).toEqual(['bob']);
    for (const name of ['demo', 'other']) {
      expect(thrownBy(() => directory.replicasForPeer({ name, digest: aa }, false)).code).toBe(
        'model_not_found',
      );
    }
  });
});

describe('the list', () => {
  it('holds every model once, with how many replicas it has, as the best of them is', () => {
    const directory = new ModelDirectory([
      remoteReplica('ada', { digest: aa, stage: 'loading' }),
      remoteReplica('bob', { digest: aa }),
      localReplica({ digest: aa, stage: 'loading' }),
      localReplica({ name: 'mine' }),
    ]);
    expect(directory.list()).toMatchObject([
      { name: 'demo', replicas: 3, stage: 'ready' },
      { name: 'mine', replicas: 1, stage: 'ready' },
    ]);
    expect(directory.list()[0]).not.toHaveProperty('reference');
  });
});

describe('nearMatches', () => {
  it('ignores case, prefers the nearest, and names at most three', () => {
    expect(nearMatches('DEMO', ['demo-moe', 'demo', 'other', 'demo-embed', 'demo-x'])).toHaveLength(3);
    expect(nearMatches('lama-3', ['llama-3', 'gemma'])).toEqual(['llama-3']);
  });

  it('finds nothing in common where there is nothing', () => {
    expect(nearMatches('gpt-4o', ['demo', 'qwen3-8b-instruct'])).toEqual([]);
    expect(nearMatches('', ['demo'])).toEqual([]);
  });
});
