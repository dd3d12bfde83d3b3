// The node's side of an embedded model's process, when that process misbehaves.
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import type { JobMessage } from '../../src/engine/embedded/protocol.ts';
import { WorkerRun } from '../../src/engine/embedded/worker-run.ts';
import { startOwnProcess } from '../../src/engine/process.ts';
import type { Clock } from '../../src/util/clock.ts';
import { systemClock } from '../../src/util/clock.ts';
import { silentLogger } from '../../src/util/logging.ts';
import { hurriedClock } from '../support/hurried-clock.ts';

const modulePath = fileURLToPath(new URL('../fixtures/embedded/misbehaving-worker.ts', import.meta.url));
const load = { type: 'load', path: '/nowhere.gguf', parallel: 1, threads: 1 } as const;
const never = new AbortController().signal;

let run: WorkerRun | undefined;
afterEach(async () => {
  await run?.stop();
});

function start(behaviour: string, clock: Clock = systemClock): WorkerRun {
  const components = { clock, log: silentLogger };
  run = new WorkerRun(
    startOwnProcess({ modulePath, args: [behaviour], name: behaviour, ...components }),
    components,
  );
  return run;
}

async function started(behaviour: string, clock?: Clock): Promise<WorkerRun> {
  const worker = start(behaviour, clock);
  await worker.load(load, never, () => {});
  return worker;
}

const ask = (worker: WorkerRun, signal: AbortSignal = never): AsyncGenerator<JobMessage> =>
  worker.job(
    (job) => ({
      type: 'generate',
      job,
      input: { prompt: 'Hi' },
      sampling: {
        temperature: 0,
        topP: 1,
        topK: 0,
        minP: 0,
        seed: 0,
        frequencyPenalty: 0,
        presencePenalty: 0,
        repeatPenalty: 1,
        logitBias: [],
      },
      stop: [],
      format: { type: 'text' },
    }),
    signal,
  );

async function collect(messages: AsyncIterable<JobMessage>): Promise<string> {
  let text = '';
  for await (const message of messages) {
    text += message.type === 'text' ? message.text : '';
  }
  return text;
}

describe('a load fails, and leaves no process, when the process', () => {
  it.each(['writes rubbish instead of loading', 'dies while loading'])('%s', async (behaviour) => {
    const worker = start(behaviour);
    await expect(worker.load(load, never, () => {})).rejects.toMatchObject({ code: 'model_failed' });
    await worker.exited;
  });

  it('says nothing', async () => {
    // Half a minute in half a second.
    const worker = start('says nothing', hurriedClock(60));
    await expect(worker.load(load, never, () => {})).rejects.toThrow('does not say anything');
    await worker.exited;
  });

  it.each(['never finishes loading', 'never warms up'])('%s', async (behaviour) => {
    let clock = systemClock;
    const worker = start(behaviour, {
      wallMs: () => clock.wallMs(),
      monotonicMs: () => clock.monotonicMs(),
      after: (delayMs, fire, options) => clock.after(delayMs, fire, options),
    });
    // As soon as it has said something, twenty minutes pass in half a second.
    const loading = worker.load(load, never, () => {
      clock = hurriedClock(2400);
    });
    await expect(loading).rejects.toThrow('in time');
    await worker.exited;
  });

  it('is no longer wanted', async () => {
    const worker = start('says nothing');
    const gone = new AbortController();
    const loading = worker.load(load, gone.signal, () => {});
    gone.abort(new Error('no longer wanted'));
    await expect(loading).rejects.toThrow('no longer wanted');
    await worker.exited;
  });
});

describe('an answer fails, and the process is ended, when it', () => {
  it.each(['writes rubbish for an answer', 'says too much at once'])('%s', async (behaviour) => {
    const worker = await started(behaviour);
    await expect(collect(ask(worker))).rejects.toMatchObject({ code: 'engine_lost' });
    await worker.exited;
  });

  it('dies, after what it said was given', async () => {
    const worker = await started('dies in the middle of an answer');
    let text = '';
    const reading = (async () => {
      for await (const message of ask(worker)) {
        text += message.type === 'text' ? message.text : '';
      }
    })();
    await expect(reading).rejects.toMatchObject({ code: 'engine_lost' });
    expect(text).toBe('half an ');
  });

  it('ignores a cancel', async () => {
    const worker = await started('ignores a cancel', hurriedClock(20));
    const gone = new AbortController();
    const messages = ask(worker, gone.signal);
    expect((await messages.next()).value).toMatchObject({ type: 'started' });
    gone.abort(new Error('gone'));
    await expect(messages.next()).rejects.toThrow('gone');
    expect(await worker.exited).toMatchObject({ signal: 'SIGKILL' });
  });
});

it('a job for a process that has ended fails at once', async () => {
  const worker = await started('ignores a cancel');
  worker.kill();
  await worker.exited;
  await expect(collect(ask(worker))).rejects.toMatchObject({ code: 'engine_unavailable' });
});
