// The process that holds one embedded model: reads commands, runs them side by side, says what comes of
// them. It ends with the node. A crash in here costs the running answers, never the node.

import { systemClock } from '../../util/clock.ts';
import { asMeshnodeError, MeshnodeError } from '../../util/errors.ts';
import { exitWithParent } from '../child-side.ts';
import type { GenerationControl } from './generation.ts';
import type { FromWorker, ToWorker } from './protocol.ts';
import { listDevices, Runtime, startRuntime } from './runtime.ts';

/** A command that runs as a job of its own and can be cancelled. */
type JobCommand = Extract<
  ToWorker,
  { type: 'generate' | 'embed' | 'rerank' | 'tokenize' | 'ping' | 'devices' }
>;

/** A running job. */
interface Job {
  readonly abort: AbortController;
  /** Set while the reader is slow. */
  wait: { readonly promise: Promise<void>; readonly resume: () => void } | undefined;
}

const jobs = new Map<number, Job>();
let runtime: Runtime | undefined;

exitWithParent();
process.on('message', (message) => receive(message as ToWorker));

function receive(message: ToWorker): void {
  switch (message.type) {
    case 'load':
      void load(message);
      return;
    case 'cancel':
      say({ type: 'cancelling', job: message.job });
      jobs.get(message.job)?.abort.abort(new MeshnodeError('cancelled', 'The request was cancelled.'));
      resume(jobs.get(message.job));
      return;
    case 'pause':
      pause(jobs.get(message.job));
      return;
    case 'resume':
      resume(jobs.get(message.job));
      return;
    default:
      void runJob(message);
  }
}

async function load(command: Extract<ToWorker, { type: 'load' }>): Promise<void> {
  try {
    say({ type: 'load-progress', fraction: 0 });
    const llama = await startRuntime();
    runtime = await Runtime.load(llama, command, (fraction) => say({ type: 'load-progress', fraction }));
    say({
      type: 'loaded',
      kinds: [...runtime.kinds],
      contextTokens: runtime.contextTokens,
      slots: runtime.slotCount,
      continues: runtime.continues,
    });
  } catch (thrown) {
    const error = asMeshnodeError(thrown, 'model_failed');
    say({ type: 'load-failed', code: error.code, message: error.message });
  }
}

async function runJob(command: JobCommand): Promise<void> {
  const job: Job = { abort: new AbortController(), wait: undefined };
  jobs.set(command.job, job);
  try {
    await work(command, job);
  } catch (thrown) {
    const error = asMeshnodeError(thrown, 'engine_error');
    const { param } = error.details;
    if (error.code === 'engine_error') {
      process.stderr.write(`${String(error.details.cause)}\n`);
    }
    say({
      type: 'failed',
      job: command.job,
      code: error.code,
      message: error.message,
      ...(param === undefined ? {} : { param }),
    });
  } finally {
    jobs.delete(command.job);
  }
}

async function work(command: JobCommand, job: Job): Promise<void> {
  if (command.type === 'devices') {
    say({ type: 'devices', job: command.job, devices: await listDevices(await startRuntime()) });
    return;
  }
  if (runtime === undefined) {
    throw new MeshnodeError('engine_unavailable', 'The model is not loaded.');
  }
  switch (command.type) {
    case 'generate':
      return generate(runtime, command, job);
    case 'embed':
      return embed(runtime, command, job.abort.signal);
    case 'rerank':
      return rerank(runtime, command, job.abort.signal);
    case 'tokenize':
      return say({ type: 'tokens', job: command.job, tokenIds: runtime.tokenize(command.text) });
    case 'ping':
      return say({ type: 'tokens', job: command.job, tokenIds: [] });
  }
}

async function generate(
  model: Runtime,
  command: Extract<ToWorker, { type: 'generate' }>,
  job: Job,
): Promise<void> {
  let promptTokens = 0;
  const control: GenerationControl = {
    signal: job.abort.signal,
    nowMs: () => systemClock.monotonicMs(),
    whenWanted: () => job.wait?.promise ?? Promise.resolve(),
    onStart: (cachedTokens) => say({ type: 'started', job: command.job, promptTokens, cachedTokens }),
    onPrefill: (fraction) => say({ type: 'prefill', job: command.job, fraction }),
    onText: ({ text, tokenIds }) => say({ type: 'text', job: command.job, text, tokenIds: [...tokenIds] }),
  };
  const result = await model.generate(command, control, (tokens) => {
    promptTokens = tokens;
  });
  say({ type: 'done', job: command.job, promptTokens, ...result });
}

async function embed(
  model: Runtime,
  command: Extract<ToWorker, { type: 'embed' }>,
  signal: AbortSignal,
): Promise<void> {
  let promptTokens = 0;
  for (const [index, input] of command.inputs.entries()) {
    signal.throwIfAborted();
    const { values, tokens } = await model.embed(input, command.dimensions);
    promptTokens += tokens;
    say({ type: 'vector', job: command.job, index, values });
  }
  say(doneWithoutText(command.job, promptTokens));
}

async function rerank(
  model: Runtime,
  command: Extract<ToWorker, { type: 'rerank' }>,
  signal: AbortSignal,
): Promise<void> {
  let promptTokens = 0;
  for (const [index, document] of command.documents.entries()) {
    signal.throwIfAborted();
    const { score, tokens } = await model.rank(command.query, document);
    if (!Number.isFinite(score)) {
      throw new MeshnodeError('engine_error', 'The model gave no number for a document.');
    }
    promptTokens += tokens;
    say({ type: 'score', job: command.job, index, score });
  }
  say(doneWithoutText(command.job, promptTokens));
}

function doneWithoutText(job: number, promptTokens: number): FromWorker {
  return { type: 'done', job, reason: 'stop', promptTokens, cachedTokens: 0, completionTokens: 0 };
}

function pause(job: Job | undefined): void {
  if (job !== undefined && job.wait === undefined) {
    const { promise, resolve } = Promise.withResolvers<void>();
    job.wait = { promise, resume: resolve };
  }
}

function resume(job: Job | undefined): void {
  job?.wait?.resume();
  if (job !== undefined) {
    job.wait = undefined;
  }
}

function say(message: FromWorker): void {
  // The channel is gone when the node has died; exitWithParent ends us then.
  process.send?.(message, undefined, undefined, () => {});
}
