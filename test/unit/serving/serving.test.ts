// Serving over an engine double: loads that share, fail, wait and end, and attached servers that change.
import { describe, expect, it } from 'vitest';
import type { Engine, LoadedModel, LoadOptions, ModelFile } from '../../../src/engine/engine.ts';
import type { AttachedServer } from '../../../src/engine/openai-url.ts';
import type { ResolvedModel } from '../../../src/models/resolve-model.ts';
import type { ModelStatus } from '../../../src/serving/model-status.ts';
import type { ServingPorts } from '../../../src/serving/ports.ts';
import { Serving, type ServingComponents } from '../../../src/serving/serving.ts';
import { Emitter } from '../../../src/util/async.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { silentLogger } from '../../../src/util/logging.ts';
import { DoubleEngine, type DoubleModel } from '../../support/double-engine.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { rejectionOf, thrownBy } from '../../support/thrown.ts';

const GiB = 2 ** 30;
const never = new AbortController().signal;

/** A double that counts loads and lets a test hold them. */
class CountingEngine extends DoubleEngine {
  readonly loaded: DoubleModel[] = [];
  loads = 0;
  running = 0;
  hold: Promise<void> | undefined;

  override async load(model: ModelFile, options: LoadOptions = {}): Promise<DoubleModel> {
    this.loads++;
    this.running++;
    expect(this.running).toBe(1);
    try {
      await this.hold;
      const loaded = await super.load(model, options);
      this.loaded.push(loaded);
      return loaded;
    } finally {
      this.running--;
    }
  }
}

function fileOf(reference: string, path = `/models/${reference}.gguf`): ResolvedModel {
  return { name: reference, reference, path, files: [{ path, sizeBytes: GiB }], sizeBytes: GiB };
}

function setUp(ports: Partial<ServingPorts> = {}, components: Partial<ServingComponents> = {}) {
  const clock = new ManualClock();
  const engine = new CountingEngine({}, clock);
  const serving = new Serving({
    clock,
    log: silentLogger,
    engines: [engine],
    ports: {
      resolve: async (reference) => fileOf(reference),
      fit: async () => ({ neededBytes: GiB, usableBytes: 8 * GiB, contextTokens: 4096 }),
      digest: async () => 'ab'.repeat(32),
      attach: async () => {
        throw new MeshnodeError('attach_failed', 'Nobody is there.');
      },
      ...ports,
    },
    ...components,
  });
  const changes: ModelStatus[] = [];
  serving.onChange((status) => changes.push(status));
  const stages = (): string[] => [...new Set(changes.map(({ stage }) => stage))];
  return { clock, engine, serving, changes, stages };
}

const namesOf = (serving: Serving): string[] => serving.served().map(({ status }) => status.name);

describe('loading a model', () => {
  it('goes through its stages to ready', async () => {
    const { serving, stages } = setUp({
      resolve: async (reference, { onProgress }) => {
        onProgress({ stage: 'downloading', bytes: 1, totalBytes: 4 });
        onProgress({ stage: 'verifying', bytes: 4, totalBytes: 4 });
        return fileOf(reference);
      },
    });
    await serving.load('demo');
    expect(stages()).toEqual(['resolving', 'downloading', 'verifying', 'placing', 'loading', 'ready']);
    expect(serving.find('demo')?.status).toMatchObject({
      stage: 'ready',
      engine: 'embedded',
      sizeBytes: GiB,
    });
    expect(serving.find('demo')?.model?.name).toBe('demo');
  });

  it('computes the digest once the model answers', async () => {
    const computing = Promise.withResolvers<string>();
    const { clock, serving } = setUp({ digest: () => computing.promise });
    await serving.load('demo');
    expect(serving.find('demo')?.status).toMatchObject({ stage: 'ready', digest: 'pending' });
    computing.resolve('cd');
    await clock.settle();
    expect(serving.find('demo')?.status).toMatchObject({ digest: 'cd' });
  });

  it('is not undone by a digest that cannot be computed', async () => {
    const { clock, serving } = setUp({ digest: () => Promise.reject(new Error('The disk is gone.')) });
    await serving.load('demo');
    await clock.settle();
    expect(serving.find('demo')?.status).toMatchObject({ stage: 'ready' });
    expect(serving.find('demo')?.status).not.toHaveProperty('digest');
  });

  it('is one load for callers who ask at the same time', async () => {
    const { engine, serving } = setUp();
    const [first, second] = await Promise.all([serving.load('demo'), serving.load('demo')]);
    expect(first).toBe(second);
    expect(await serving.load('demo')).toBe(first);
    expect(engine.loads).toBe(1);
  });

  it('is one load for two references to one file', async () => {
    const { engine, serving } = setUp({ resolve: async (reference) => fileOf(reference, '/same.gguf') });
    const first = await serving.load('demo');
    expect(await serving.load('./other.gguf')).toBe(first);
    expect(engine.loads).toBe(1);
    expect(namesOf(serving)).toEqual(['demo']);
  });

  it('goes on when one of its callers stops waiting', async () => {
    const { engine, serving } = setUp();
    const hold = Promise.withResolvers<void>();
    engine.hold = hold.promise;
    const impatient = new AbortController();
    const left = rejectionOf(serving.load('demo', { signal: impatient.signal }));
    const patient = serving.load('demo');
    impatient.abort(new MeshnodeError('cancelled', 'Enough.'));
    expect((await left).code).toBe('cancelled');
    hold.resolve();
    expect((await patient).name).toBe('demo');
  });

  it('is done for one model after the other', async () => {
    const { engine, serving } = setUp();
    await Promise.all(['demo', 'demo-moe', 'demo-embed'].map((reference) => serving.load(reference)));
    expect(engine.loads).toBe(3);
  });

  it('counts the memory that models hold already', async () => {
    const held: number[] = [];
    const { serving } = setUp({
      fit: async (_model, _options, heldBytes) => {
        held.push(heldBytes);
        return { neededBytes: 2 * GiB, usableBytes: 8 * GiB, contextTokens: 1 };
      },
    });
    await serving.load('demo');
    await serving.load('demo-moe');
    await serving.unload('demo');
    await serving.load('demo-embed');
    expect(held).toEqual([0, 2 * GiB, 2 * GiB]);
  });
});

describe('a model that cannot be loaded', () => {
  it('is refused with numbers if it does not fit', async () => {
    const { engine, serving } = setUp({
      fit: async () => ({ neededBytes: 20 * GiB, usableBytes: 7.5 * GiB, contextTokens: 4096 }),
    });
    const error = await rejectionOf(serving.load('demo'));
    expect(error.code).toBe('model_too_large');
    expect(error.message).toContain('20 GiB');
    expect(error.message).toContain('7.5 GiB');
    expect(error.hint).toContain('--max-vram');
    expect(engine.loads).toBe(0);
    expect(serving.find('demo')?.status).toMatchObject({ stage: 'failed', error });
  });

  it('says what every engine lacks if none can run', async () => {
    const missing: Engine = {
      name: 'embedded',
      available: async () => ({ ok: false, reason: 'No library.', hint: 'Install it.' }),
      load: () => Promise.reject(new Error('It was said to be unavailable.')),
    };
    const { serving } = setUp({}, { engines: [missing] });
    const error = await rejectionOf(serving.load('demo'));
    expect(error).toMatchObject({ code: 'engine_missing', hint: 'Install it.' });
    expect(error.message).toContain('No library.');
  });

  it('is refused at once if the reference is none', async () => {
    const { serving } = setUp();
    expect((await rejectionOf(serving.load(''))).code).toBe('model_ref_invalid');
    expect(serving.served()).toEqual([]);
  });

  it('can be asked for again', async () => {
    const { engine, serving } = setUp();
    engine.knobs.failLoad = new MeshnodeError('gguf_invalid', 'It is cut short.');
    expect((await rejectionOf(serving.load('demo'))).code).toBe('gguf_invalid');
    engine.knobs.failLoad = undefined;
    expect((await serving.load('demo')).name).toBe('demo');
    expect(serving.find('demo')?.status).not.toHaveProperty('error');
  });

  it('does not keep the next one from its turn', async () => {
    const { engine, serving } = setUp();
    engine.knobs.failLoad = new MeshnodeError('gguf_invalid', 'It is cut short.');
    const failed = rejectionOf(serving.load('demo'));
    await failed;
    engine.knobs.failLoad = undefined;
    expect((await serving.load('demo-moe')).name).toBe('demo-moe');
  });
});

describe('a model whose process dies', () => {
  it('is loading until it is back, with the reason', async () => {
    const { clock, engine, serving } = setUp();
    await serving.load('demo');
    engine.loaded[0]?.crash();
    expect(serving.find('demo')?.status).toMatchObject({ stage: 'loading', error: { code: 'engine_lost' } });
    await clock.advance(engine.knobs.restartMs);
    expect(serving.find('demo')?.status).toMatchObject({ stage: 'ready' });
  });
});

describe('unloading', () => {
  it('ends the process and tells of it once', async () => {
    const { engine, serving, changes } = setUp();
    await serving.load('demo');
    await serving.unload('demo');
    expect(engine.loaded[0]?.state.state).toBe('unloaded');
    expect(serving.served()).toEqual([]);
    expect(changes.filter(({ stage }) => stage === 'unloaded')).toHaveLength(1);
    expect((await serving.load('demo')).state.state).toBe('ready');
  });

  it('ends a load that is under way', async () => {
    const { serving } = setUp({
      resolve: (_reference, { signal }) =>
        new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
    });
    const load = rejectionOf(serving.load('demo'));
    await serving.unload('demo');
    expect((await load).code).toBe('cancelled');
    expect(serving.served()).toEqual([]);
  });

  it('leaves nothing running if the engine was just about to be done', async () => {
    const { clock, engine, serving } = setUp();
    const hold = Promise.withResolvers<void>();
    engine.hold = hold.promise;
    const load = rejectionOf(serving.load('demo'));
    await clock.settle();
    const unload = serving.unload('demo');
    hold.resolve();
    await unload;
    expect((await load).code).toBe('cancelled');
    expect(engine.loaded.every((model) => model.state.state === 'unloaded')).toBe(true);
  });

  it('does not undo a load that was asked for the moment it was gone', async () => {
    const { serving } = setUp();
    await serving.load('demo');
    const again = Promise.withResolvers<LoadedModel>();
    const stopListening = serving.onChange(({ stage }) => {
      if (stage === 'unloaded') {
        stopListening();
        queueMicrotask(() => again.resolve(serving.load('demo')));
      }
    });
    await serving.unload('demo');
    const fresh = await again.promise;
    expect(serving.find('demo')).toMatchObject({ status: { stage: 'ready' }, model: fresh });
  });

  it('is refused for a model that is not there', async () => {
    const { serving } = setUp();
    expect((await rejectionOf(serving.unload('demo'))).code).toBe('model_not_found');
  });
});

describe('readiness', () => {
  it('waits for exactly the models that were asked for', async () => {
    const { serving } = setUp();
    serving.want(['demo', 'demo-moe']);
    expect(serving.readiness()).toEqual({
      ready: false,
      waitingFor: ['demo is not loaded', 'demo-moe is not loaded'],
    });
    await serving.load('demo');
    expect(serving.readiness().waitingFor).toEqual(['demo-moe is not loaded']);
    await serving.load('demo-moe');
    expect(serving.readiness()).toEqual({ ready: true, waitingFor: [] });
  });

  it('says so if a model failed', async () => {
    const { engine, serving } = setUp();
    serving.want(['demo']);
    engine.knobs.failLoad = new MeshnodeError('gguf_invalid', 'It is cut short.');
    await rejectionOf(serving.load('demo'));
    expect(serving.readiness()).toEqual({ ready: false, waitingFor: ['demo has failed'] });
  });

  it('follows a reference that turned out to be another’s file', async () => {
    const { serving } = setUp({ resolve: async (reference) => fileOf(reference, '/same.gguf') });
    serving.want(['demo', './same.gguf']);
    await Promise.all([serving.load('demo'), serving.load('./same.gguf')]);
    expect(serving.readiness().ready).toBe(true);
  });

  it('refuses what is no reference', () => {
    expect(thrownBy(() => setUp().serving.want([''])).code).toBe('model_ref_invalid');
  });
});

/** An attached server whose models a test changes. */
class Server implements AttachedServer {
  readonly url = 'http://127.0.0.1:1/v1';
  readonly health = { ok: true };
  readonly #changes = new Emitter<void>();
  offered: LoadedModel[] = [];
  closed = false;

  offer(...models: LoadedModel[]): void {
    this.offered = models;
    this.#changes.emit();
  }

  models(): readonly LoadedModel[] {
    return this.offered;
  }

  onChange(listener: () => void): () => void {
    return this.#changes.listen(listener);
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}

describe('an attached server', () => {
  const offered = (name: string): Promise<DoubleModel> => new DoubleEngine().load({ name, path: '' });

  it('lends its models for as long as it has them', async () => {
    const server = new Server();
    const [llama, gemma] = [await offered('llama'), await offered('gemma')];
    server.offered = [llama];
    const { serving, changes } = setUp({ attach: async () => server });
    await serving.attach('http://a', never);
    expect(serving.find('llama')?.model).toBe(llama);
    expect(serving.find('llama')?.status).toMatchObject({ stage: 'ready', reference: 'url:http://a' });
    server.offer(gemma);
    expect(namesOf(serving)).toEqual(['gemma']);
    expect(changes.find(({ stage }) => stage === 'unloaded')?.name).toBe('llama');
  });

  it('does not take the name of a model that is there already', async () => {
    const server = new Server();
    server.offered = [await offered('demo')];
    const { serving } = setUp({ attach: async () => server });
    const own = await serving.load('demo');
    await serving.attach('http://a', never);
    expect(serving.find('demo')?.model).toBe(own);
    expect(namesOf(serving)).toEqual(['demo', 'demo@2']);
  });

  it('is attached once, and let go of at the end', async () => {
    const server = new Server();
    server.offered = [await offered('llama')];
    let attached = 0;
    const { serving } = setUp({
      attach: async () => {
        attached++;
        return server;
      },
    });
    await serving.attach('http://a', never);
    await serving.attach('http://a', never);
    await serving.stop();
    expect(attached).toBe(1);
    expect(server.closed).toBe(true);
    expect(serving.served()).toEqual([]);
  });
});

describe('stopping', () => {
  it('unloads everything, ends loads, and loads nothing more', async () => {
    const { engine, serving } = setUp();
    await serving.load('demo');
    await serving.stop();
    await serving.stop();
    expect(engine.loaded[0]?.state.state).toBe('unloaded');
    expect((await rejectionOf(serving.load('demo'))).code).toBe('shutting_down');
  });
});
