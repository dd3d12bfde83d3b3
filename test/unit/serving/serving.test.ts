// Serving over an engine double: loads that share, fail, wait and end, and attached servers that change.
import { describe, expect, it } from 'vitest';
import type { Engine, LoadedModel, LoadOptions, ModelFile, ModelState } from '../../../src/engine/engine.ts';
import type { AttachedServer } from '../../../src/engine/openai-url/openai-url.ts';
import type { ResolvedModel } from '../../../src/models/resolve-model.ts';
import type { ModelStatus } from '../../../src/serving/model-status.ts';
import type { ServingPorts } from '../../../src/serving/ports.ts';
import { Serving, type ServingComponents } from '../../../src/serving/serving.ts';
import { Emitter } from '../../../src/util/async.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { engineLimits } from '../../../src/util/limits/engine.ts';
import { createLogger, silentLogger } from '../../../src/util/logging.ts';
import { DoubleEngine, DoubleModel, defaultEngineKnobs } from '../../support/double-engine.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { servedAs } from '../../support/served.ts';
import { rejectionOf, thrownBy } from '../../support/thrown.ts';

const GiB = 2 ** 30;
const never = new AbortController().signal;

/** A double that counts loads and lets a test hold them, and the ends of its models. */
class CountingEngine extends DoubleEngine {
  readonly loaded: DoubleModel[] = [];
  loads = 0;
  running = 0;
  hold: Promise<void> | undefined;
  holdUnload: Promise<void> | undefined;

  override async load(model: ModelFile, options: LoadOptions = {}): Promise<DoubleModel> {
    this.loads++;
    this.running++;
    expect(this.running).toBe(1);
    try {
      await this.hold;
      const loaded = await super.load(model, options);
      const unload = loaded.unload.bind(loaded);
      loaded.unload = async () => {
        await this.holdUnload;
        await unload();
      };
      this.loaded.push(loaded);
      return loaded;
    } finally {
      this.running--;
    }
  }
}

/** A model whose process a test can declare lost for good. */
class DoomedModel extends DoubleModel {
  readonly #states = new Emitter<ModelState>();

  override onChange(listener: (state: ModelState) => void): () => void {
    return this.#states.listen(listener);
  }

  fail(error: MeshnodeError): void {
    this.#states.emit({ state: 'failed', error });
  }
}

/** A promise that never settles. */
const hang = (): Promise<never> => new Promise(() => {});

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
      identity: async ({ path }) => path,
      fit: async () => ({ neededBytes: GiB, usableBytes: 8 * GiB, contextTokens: 4096 }),
      demand: async () => 2 * GiB,
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
    expect(servedAs(serving, 'demo')?.status).toMatchObject({
      stage: 'ready',
      engine: 'embedded',
      sizeBytes: GiB,
    });
    expect(servedAs(serving, 'demo')?.model?.name).toBe('demo');
  });

  it('computes the digest once the model answers', async () => {
    const computing = Promise.withResolvers<string>();
    const { clock, serving } = setUp({ digest: () => computing.promise });
    await serving.load('demo');
    expect(servedAs(serving, 'demo')?.status).toMatchObject({ stage: 'ready', digest: 'pending' });
    computing.resolve('cd');
    await clock.settle();
    expect(servedAs(serving, 'demo')?.status).toMatchObject({ digest: 'cd' });
  });

  it('is not undone by a digest that cannot be computed', async () => {
    const { clock, serving } = setUp({ digest: () => Promise.reject(new Error('The disk is gone.')) });
    await serving.load('demo');
    await clock.settle();
    expect(servedAs(serving, 'demo')?.status).toMatchObject({ stage: 'ready' });
    expect(servedAs(serving, 'demo')?.status).not.toHaveProperty('digest');
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
    expect(serving.aliasesOf('demo')).toEqual(['./other.gguf']);
    await serving.unload('demo');
    expect(serving.aliasesOf('demo')).toEqual([]);
  });

  it('is one load for two ways to one file', async () => {
    const { engine, serving } = setUp({ identity: async () => '/the-file-itself.gguf' });
    const first = await serving.load('demo');
    expect(await serving.load('./link.gguf')).toBe(first);
    expect(engine.loads).toBe(1);
    expect(namesOf(serving)).toEqual(['demo']);
    expect(serving.aliasesOf('demo')).toEqual(['./link.gguf']);
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
    expect(servedAs(serving, 'demo')?.status).toMatchObject({ stage: 'failed', error });
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
    expect(servedAs(serving, 'demo')?.status).not.toHaveProperty('error');
  });

  it('leaves nothing running if what it takes cannot be told', async () => {
    const { engine, serving } = setUp({
      demand: () => Promise.reject(new MeshnodeError('gguf_invalid', 'It is cut short.')),
    });
    expect((await rejectionOf(serving.load('demo'))).code).toBe('gguf_invalid');
    expect(engine.loaded.map(({ state }) => state.state)).toEqual(['unloaded']);
  });

  it.each([
    [
      'is logged in one line if that is no fault of ours',
      new MeshnodeError('model_file_missing', 'Gone.'),
      'warn',
      0,
    ],
    ['is logged with its stack if it is', new TypeError('x is undefined'), 'error', 1],
  ])('%s', async (_how, failure, level, stacks) => {
    const lines: string[] = [];
    const log = createLogger('debug', { write: (line) => lines.push(line) }, { pretty: false });
    const { serving } = setUp({ resolve: () => Promise.reject(failure) }, { log });
    const { code, message } = await rejectionOf(serving.load('demo'));
    expect(lines).toHaveLength(1);
    const line = JSON.parse(lines[0] ?? '');
    expect(line).toMatchObject({ level, reference: 'demo', code });
    expect(line.message ?? line.err.message).toContain(message);
    expect(lines.filter((text) => text.includes('"stack"'))).toHaveLength(stacks);
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
    expect(servedAs(serving, 'demo')?.status).toMatchObject({
      stage: 'loading',
      error: { code: 'engine_lost' },
    });
    await clock.advance(engine.knobs.restartMs);
    expect(servedAs(serving, 'demo')?.status).toMatchObject({ stage: 'ready' });
  });

  it('has its digest computed no longer if it stays down', async () => {
    const clock = new ManualClock();
    const doomed = new DoomedModel('demo', defaultEngineKnobs, clock);
    const engine: Engine = {
      name: 'embedded',
      available: async () => ({ ok: true }),
      load: async () => doomed,
    };
    let hashing: AbortSignal | undefined;
    const { serving } = setUp(
      {
        digest: (_model, signal) => {
          hashing = signal;
          return hang();
        },
      },
      { clock, engines: [engine] },
    );
    await serving.load('demo');
    const error = new MeshnodeError('model_failed', 'It died too often.');
    doomed.fail(error);
    expect(hashing?.aborted).toBe(true);
    expect(servedAs(serving, 'demo')).toEqual({
      status: expect.objectContaining({ stage: 'failed', error }),
    });
    expect(servedAs(serving, 'demo')?.status).not.toHaveProperty('digest');
    await clock.settle();
    expect(doomed.state.state).toBe('unloaded');
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

  it('does not wait for who asks the hardware, nor does the next model', async () => {
    const asked: AbortSignal[] = [];
    const { clock, serving } = setUp({
      fit: async ({ name }, _options, _heldBytes, signal) => {
        asked.push(signal);
        return name === 'demo' ? hang() : { neededBytes: 1, usableBytes: 1, contextTokens: 1 };
      },
    });
    const load = rejectionOf(serving.load('demo'));
    await clock.settle();
    await serving.unload('demo');
    expect((await load).code).toBe('cancelled');
    expect(asked.map(({ aborted }) => aborted)).toEqual([true]);
    expect(serving.served()).toEqual([]);
    expect((await serving.load('demo-moe')).name).toBe('demo-moe');
  });

  it('lets go of the callers at once, and waits for what hangs only for a while', async () => {
    const { clock, serving } = setUp({ resolve: hang });
    const load = rejectionOf(serving.load('demo'));
    await clock.settle();
    let isUnloaded = false;
    const unload = serving.unload('demo').then(() => {
      isUnloaded = true;
    });
    expect((await load).code).toBe('cancelled');
    await clock.advance(engineLimits.cancelMs - 1);
    expect(isUnloaded).toBe(false);
    await clock.advance(1);
    await unload;
    expect(serving.served()).toEqual([]);
  });

  it('leaves nothing running if it is just being found out what the model takes', async () => {
    const taken = Promise.withResolvers<number>();
    const { clock, engine, serving } = setUp({ demand: () => taken.promise });
    const load = rejectionOf(serving.load('demo'));
    await clock.settle();
    const unload = serving.unload('demo');
    taken.resolve(1);
    await unload;
    expect((await load).code).toBe('cancelled');
    expect(engine.loaded.map(({ state }) => state.state)).toEqual(['unloaded']);
    expect(serving.served()).toEqual([]);
  });

  it('ends the computing of the digest', async () => {
    let hashing: AbortSignal | undefined;
    const { serving } = setUp({
      digest: (_model, signal) => {
        hashing = signal;
        return hang();
      },
    });
    await serving.load('demo');
    await serving.unload('demo');
    expect(hashing?.aborted).toBe(true);
  });

  it('is followed by a load that was asked for meanwhile', async () => {
    const { clock, engine, serving } = setUp();
    const dying = await serving.load('demo');
    const hold = Promise.withResolvers<void>();
    engine.holdUnload = hold.promise;
    const unload = serving.unload('demo');
    const load = serving.load('demo');
    await clock.settle();
    expect(engine.loads).toBe(1);
    hold.resolve();
    await unload;
    const fresh = await load;
    expect(fresh).not.toBe(dying);
    expect(servedAs(serving, 'demo')).toMatchObject({ status: { stage: 'ready' }, model: fresh });
  });

  it('ends also the load that was asked for meanwhile', async () => {
    const { engine, serving } = setUp();
    await serving.load('demo');
    const hold = Promise.withResolvers<void>();
    engine.holdUnload = hold.promise;
    const first = serving.unload('demo');
    const load = rejectionOf(serving.load('demo'));
    const second = serving.unload('demo');
    expect((await load).code).toBe('cancelled');
    hold.resolve();
    await Promise.all([first, second]);
    expect(engine.loads).toBe(1);
    expect(serving.served()).toEqual([]);
  });

  it('does not undo a load that a listener asks for while it hears of the end', async () => {
    const { serving } = setUp();
    const dying = await serving.load('demo');
    let again: Promise<LoadedModel> | undefined;
    const stopListening = serving.onChange(({ stage }) => {
      if (stage === 'unloaded') {
        stopListening();
        again = serving.load('demo');
      }
    });
    await serving.unload('demo');
    const fresh = await again;
    expect(fresh).not.toBe(dying);
    expect(servedAs(serving, 'demo')).toMatchObject({ status: { stage: 'ready' }, model: fresh });
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
    expect(servedAs(serving, 'demo')).toMatchObject({ status: { stage: 'ready' }, model: fresh });
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
    expect(servedAs(serving, 'llama')?.model).toBe(llama);
    expect(servedAs(serving, 'llama')?.status).toMatchObject({
      stage: 'ready',
      reference: 'url:http://a/v1',
    });
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
    expect(servedAs(serving, 'demo')?.model).toBe(own);
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

  it('is attached once for all who ask at the same time, however they write its URL', async () => {
    const servers: Server[] = [];
    const { serving } = setUp({
      attach: async () => {
        servers.push(new Server());
        return servers.at(-1) ?? hang();
      },
    });
    const urls = [
      'http://127.0.0.1:1/v1',
      'http://127.0.0.1:1/v1/',
      'HTTP://127.0.0.1:1',
      'http://127.0.0.1:1/v1',
    ];
    await Promise.all(urls.map((url) => serving.attach(url, never)));
    await serving.stop();
    expect(servers.map(({ closed }) => closed)).toEqual([true]);
  });

  it('can be tried again if it was not there', async () => {
    const server = new Server();
    server.offered = [await offered('llama')];
    let isThere = false;
    const { serving } = setUp({
      attach: async () => {
        if (!isThere) {
          throw new MeshnodeError('attach_failed', 'Nobody is there.');
        }
        return server;
      },
    });
    expect((await rejectionOf(serving.attach('http://a', never))).code).toBe('attach_failed');
    isThere = true;
    await serving.attach('http://a', never);
    expect(namesOf(serving)).toEqual(['llama']);
  });

  it('is not attached by what is no URL of a server', async () => {
    const { serving } = setUp();
    expect((await rejectionOf(serving.attach('file:///etc/passwd', never))).code).toBe('attach_failed');
  });

  it('is let go of if it answers when the node is already stopping', async () => {
    const server = new Server();
    const { serving } = setUp({
      attach: (_url, signal) =>
        new Promise((resolve) => signal.addEventListener('abort', () => resolve(server))),
    });
    const attached = rejectionOf(serving.attach('http://a', never));
    await serving.stop();
    expect((await attached).code).toBe('shutting_down');
    expect(server.closed).toBe(true);
    expect((await rejectionOf(serving.attach('http://a', never))).code).toBe('shutting_down');
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

  it('waits for the model that is being unloaded, and forgets the load that waits for it too', async () => {
    const { engine, serving } = setUp();
    const dying = await serving.load('demo');
    const hold = Promise.withResolvers<void>();
    engine.holdUnload = hold.promise;
    const unload = serving.unload('demo');
    const load = rejectionOf(serving.load('demo'));
    const stopped = serving.stop();
    expect((await load).code).toBe('cancelled');
    hold.resolve();
    await Promise.all([unload, stopped]);
    expect(dying.state.state).toBe('unloaded');
    expect(engine.loads).toBe(1);
    expect(serving.served()).toEqual([]);
  });
});
