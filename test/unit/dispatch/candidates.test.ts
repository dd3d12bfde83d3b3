// Who may answer: exact names, digests, near matches, failures.
import { describe, expect, it } from 'vitest';
import { candidatesFor, nearMatches, type Replica } from '../../../src/dispatch/candidates.ts';
import type { ModelStatus } from '../../../src/serving/model-status.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { DoubleEngine } from '../../support/double-engine.ts';
import { thrownBy } from '../../support/thrown.ts';

const engine = new DoubleEngine();

async function ready(name: string, peer = 'here', extra: Partial<ModelStatus> = {}): Promise<Replica> {
  const status: ModelStatus = { name, reference: name, stage: 'ready', createdMs: 0, ...extra };
  return { peer, where: 'local', status, model: await engine.load({ name, path: `/${name}` }) };
}

const loading = (name: string): Replica => ({
  peer: 'there',
  where: 'local',
  status: { name, reference: name, stage: 'loading', createdMs: 0 },
});

describe('candidatesFor', () => {
  it('finds the model of exactly this name and says that there is only one', async () => {
    const demo = await ready('demo');
    const { replicas, reason } = candidatesFor({ name: 'demo' }, [await ready('demo-moe'), demo]);
    expect(replicas).toEqual([demo]);
    expect(reason).toBe('only');
  });

  it('puts replicas that are ready before those that load', async () => {
    const demo = await ready('demo');
    const { replicas } = candidatesFor({ name: 'demo' }, [loading('demo'), demo]);
    expect(replicas.map(({ peer }) => peer)).toEqual(['here', 'there']);
  });

  it('never answers for another model, but names near ones', async () => {
    const served = [await ready('qwen3-8b'), await ready('llama-3.2-1b')];
    const error = thrownBy(() => candidatesFor({ name: 'qwen3-4b' }, served));
    expect(error).toMatchObject({ code: 'model_not_found', details: { param: 'model' } });
    expect(error.message).toContain("'qwen3-8b'");
    expect(error.message).not.toContain('llama');
  });

  it('holds a digest against the weights that are served', async () => {
    const served = [await ready('demo', 'here', { digest: 'aa' })];
    expect(candidatesFor({ name: 'demo', digest: 'aa' }, served).replicas).toHaveLength(1);
    expect(thrownBy(() => candidatesFor({ name: 'demo', digest: 'bb' }, served)).code).toBe(
      'model_not_found',
    );
  });

  it('tells why a model failed, but no path of this machine', () => {
    const error = new MeshnodeError('gguf_invalid', '/home/me/demo.gguf is cut short.');
    const failed: Replica = {
      ...loading('demo'),
      status: { ...loading('demo').status, stage: 'failed', error },
    };
    const thrown = thrownBy(() => candidatesFor({ name: 'demo' }, [failed]));
    expect(thrown.code).toBe('model_failed');
    expect(thrown.message).toContain('gguf_invalid');
    expect(thrown.message).not.toContain('/home/me');
    expect(thrown.hint).toBe(error.hint);
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
