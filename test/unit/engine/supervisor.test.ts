import { expect, test } from 'vitest';
import type { ProcessExit } from '../../../src/engine/process.ts';
import {
  type Run,
  type Supervised,
  type SupervisedState,
  supervise,
} from '../../../src/engine/supervisor.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { engineLimits } from '../../../src/util/limits/engine.ts';
import { silentLogger } from '../../../src/util/logging.ts';
import { seededRandom } from '../../../src/util/random.ts';
import { ManualClock } from '../../support/manual-clock.ts';

class FakeRun implements Run {
  readonly #exit = Promise.withResolvers<ProcessExit>();
  readonly exited = this.#exit.promise;
  ended: string | undefined;

  end(how: string, exit: Partial<ProcessExit> = {}): void {
    this.ended ??= how;
    this.#exit.resolve({ code: 1, signal: null, logTail: '', ...exit });
  }

  stop(): Promise<ProcessExit> {
    this.end('stopped', { code: 0 });
    return this.exited;
  }

  kill(): void {
    this.end('killed', { code: null, signal: 'SIGKILL' });
  }
}

/** A supervisor under test, with every run it started and every state it told. */
class Bench {
  readonly clock = new ManualClock();
  readonly runs: FakeRun[] = [];
  readonly states: SupervisedState[] = [];
  /** What the next starts do; ready at once by default. */
  readonly starts: Array<(run: FakeRun, signal: AbortSignal) => Promise<FakeRun>> = [];

  async supervise(signal?: AbortSignal): Promise<Supervised<FakeRun>> {
    const supervised = await supervise({
      name: 'test',
      start: (startSignal) => {
        const run = new FakeRun();
        this.runs.push(run);
        return this.starts.shift()?.(run, startSignal) ?? Promise.resolve(run);
      },
      clock: this.clock,
      random: seededRandom(1),
      log: silentLogger,
      ...(signal === undefined ? {} : { signal }),
    });
    supervised.onChange((state) => this.states.push(state));
    return supervised;
  }

  get lastRun(): FakeRun {
    const run = this.runs.at(-1);
    if (run === undefined) {
      throw new Error('nothing was started');
    }
    return run;
  }
}

const failingStart = (): Promise<never> => Promise.reject(new MeshnodeError('model_too_large', 'Too large.'));

test('a crash leads to restarting and, after a wait, to running again', async () => {
  const bench = new Bench();
  const supervised = await bench.supervise();
  expect(supervised.state).toEqual({ state: 'running' });
  bench.lastRun.end('crash', { code: null, signal: 'SIGSEGV' });
  await bench.clock.settle();
  expect(supervised.state).toMatchObject({ state: 'restarting', attempt: 1 });
  expect(supervised.current()).toBeUndefined();
  expect(bench.states[0]).toMatchObject({ error: { code: 'engine_unavailable' } });
  expect(bench.states[0]).toHaveProperty('error.message', expect.stringContaining('SIGSEGV'));
  await bench.clock.advance(engineLimits.restartMs);
  expect(supervised.state).toEqual({ state: 'running' });
  expect(supervised.current()).toBe(bench.lastRun);
  expect(bench.runs).toHaveLength(2);
  await supervised.stop();
});

test('a crash loop ends in failed, and nothing is started any more', async () => {
  const bench = new Bench();
  const supervised = await bench.supervise();
  while (supervised.state.state !== 'failed') {
    bench.lastRun.end('crash');
    await bench.clock.advance(engineLimits.restartMaxMs / 2);
  }
  expect(bench.runs).toHaveLength(engineLimits.restarts);
  expect(supervised.state).toMatchObject({ error: { code: 'model_failed' } });
  expect(bench.clock.pendingTimers).toBe(0);
  await supervised.stop();
  expect(supervised.state).toEqual({ state: 'stopped' });
});

test('crashes far apart never add up', async () => {
  const bench = new Bench();
  const supervised = await bench.supervise();
  for (let crash = 0; crash < 3 * engineLimits.restarts; crash++) {
    await bench.clock.advance(engineLimits.restartForgetMs);
    bench.lastRun.end('crash');
    await bench.clock.advance(engineLimits.restartMs);
    expect(supervised.state).toEqual({ state: 'running' });
  }
  await supervised.stop();
});

test('a restart that fails to become ready counts as another crash', async () => {
  const bench = new Bench();
  const supervised = await bench.supervise();
  bench.starts.push(failingStart);
  bench.lastRun.end('crash');
  await bench.clock.advance(engineLimits.restartMs);
  expect(supervised.state).toMatchObject({
    state: 'restarting',
    attempt: 2,
    error: { code: 'model_too_large' },
  });
  await bench.clock.advance(2 * engineLimits.restartMs);
  expect(supervised.state).toEqual({ state: 'running' });
  await supervised.stop();
});

test('the failure of the first start is the failure of all', async () => {
  const bench = new Bench();
  bench.starts.push(failingStart);
  await expect(bench.supervise()).rejects.toMatchObject({ code: 'model_too_large' });
  expect(bench.clock.pendingTimers).toBe(0);
  expect(bench.runs).toHaveLength(1);
});

test('a signal ends the first start, and a run that comes too late is stopped', async () => {
  const bench = new Bench();
  const caller = new AbortController();
  const ready = Promise.withResolvers<void>();
  bench.starts.push((run) => ready.promise.then(() => run));
  const supervising = bench.supervise(caller.signal);
  await bench.clock.settle();
  const reason = new MeshnodeError('cancelled', 'Never mind.');
  caller.abort(reason);
  ready.resolve();
  await expect(supervising).rejects.toBe(reason);
  expect(bench.lastRun.ended).toBe('stopped');
});

test('a signal that aborted before starts nothing', async () => {
  const bench = new Bench();
  await expect(bench.supervise(AbortSignal.abort(new Error('too late')))).rejects.toThrow('too late');
  expect(bench.runs).toHaveLength(0);
});

test('stop ends the run and is told once, however often it is asked', async () => {
  const bench = new Bench();
  const supervised = await bench.supervise();
  await Promise.all([supervised.stop(), supervised.stop()]);
  await supervised.stop();
  expect(bench.lastRun.ended).toBe('stopped');
  expect(bench.states).toEqual([{ state: 'stopped' }]);
  expect(supervised.current()).toBeUndefined();
});

test('stop during the wait for a restart ends the wait', async () => {
  const bench = new Bench();
  const supervised = await bench.supervise();
  bench.lastRun.end('crash');
  await bench.clock.settle();
  expect(bench.clock.pendingTimers).toBe(1);
  await supervised.stop();
  expect(supervised.state).toEqual({ state: 'stopped' });
  expect(bench.clock.pendingTimers).toBe(0);
  await bench.clock.advance(engineLimits.restartMaxMs);
  expect(bench.runs).toHaveLength(1);
});

test('stop during a restart aborts its start', async () => {
  const bench = new Bench();
  const supervised = await bench.supervise();
  let startSignal: AbortSignal | undefined;
  bench.starts.push((_run, signal) => {
    startSignal = signal;
    return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
  });
  bench.lastRun.end('crash');
  await bench.clock.advance(engineLimits.restartMs);
  expect(bench.runs).toHaveLength(2);
  await supervised.stop();
  expect(startSignal?.aborted).toBe(true);
  expect(supervised.state).toEqual({ state: 'stopped' });
});

test('a hung run is killed and started again, for the reason given', async () => {
  const bench = new Bench();
  const supervised = await bench.supervise();
  const reason = new MeshnodeError('engine_timeout', 'It stopped answering.');
  supervised.restart(reason);
  supervised.restart(new MeshnodeError('engine_timeout', 'Another request noticed too.'));
  await bench.clock.settle();
  expect(bench.lastRun.ended).toBe('killed');
  expect(supervised.state).toMatchObject({ state: 'restarting', attempt: 1, error: reason });
  supervised.restart(reason);
  await bench.clock.advance(engineLimits.restartMs);
  expect(supervised.state).toEqual({ state: 'running' });
  expect(bench.runs).toHaveLength(2);
  bench.lastRun.end('crash');
  await bench.clock.settle();
  expect(supervised.state).toMatchObject({ error: { code: 'engine_unavailable' } });
  await supervised.stop();
});
