// One life of a model's process, seen from the node: the load, then jobs multiplexed over its message
// channel. When the process dies every job ends with `engine_lost`; nothing here starts it again.
import { Channel, withTimeout } from '../../util/async.ts';
import type { Clock, Timer } from '../../util/clock.ts';
import { MeshnodeError } from '../../util/errors.ts';
import { engineLimits } from '../../util/limits/engine.ts';
import { eventLimits } from '../../util/limits/inference.ts';
import type { Logger } from '../../util/logging.ts';
import { engineEnvironment } from '../engine-environment.ts';
import { describeExit, type OwnProcess, type ProcessExit, startOwnProcess } from '../process.ts';
import type { EmbeddedEngineComponents } from './components.ts';
import { type FromWorker, fromWorker, type JobMessage, type LoadCommand, type ToWorker } from './protocol.ts';

/** What a loaded model told of itself. */
export type WorkerFacts = Extract<FromWorker, { type: 'loaded' }>;

export function startWorker(
  components: EmbeddedEngineComponents,
  modulePath: string,
  name: string,
): OwnProcess {
  return startOwnProcess({
    modulePath,
    name: `embedded/${name}`,
    env: engineEnvironment(process.env),
    clock: components.clock,
    log: components.log,
    ...(components.registry === undefined ? {} : { registry: components.registry }),
  });
}

export class WorkerRun {
  readonly exited: Promise<ProcessExit>;
  readonly #process: OwnProcess;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #jobs = new Map<number, JobChannel>();
  /** Watches over cancelled jobs that the process still works on. */
  readonly #cancelled = new Map<number, Timer>();
  #nextJob = 1;
  #facts: WorkerFacts | undefined;
  #onLoadMessage: ((message: FromWorker) => void) | undefined;

  constructor(process: OwnProcess, components: { clock: Clock; log: Logger }) {
    this.#process = process;
    this.#clock = components.clock;
    this.#log = components.log;
    this.exited = process.exited;
    process.onMessage((message) => this.#receive(message));
    void process.exited.then((exit) => this.#loseJobs(exit));
  }

  /** What the model told when it was loaded. */
  get facts(): WorkerFacts {
    if (this.#facts === undefined) {
      throw new MeshnodeError('internal', 'The model was asked before it was loaded.');
    }
    return this.#facts;
  }

  /** Loads the model. Rejects, with the process gone, if that fails, takes too long or is aborted. */
  async load(
    command: LoadCommand,
    signal: AbortSignal,
    onFraction: (fraction: number) => void,
  ): Promise<void> {
    const loaded = Promise.withResolvers<WorkerFacts>();
    const heard = Promise.withResolvers<void>();
    let warmUp: Timer | undefined;
    const onAbort = (): void => loaded.reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    this.#onLoadMessage = (message) => {
      heard.resolve();
      if (message.type === 'load-progress') {
        onFraction(message.fraction);
        if (message.fraction === 1) {
          warmUp ??= this.#clock.after(engineLimits.warmUpMs, () => loaded.reject(loadTimeout()));
        }
      } else if (message.type === 'loaded') {
        loaded.resolve(message);
      } else if (message.type === 'load-failed') {
        loaded.reject(new MeshnodeError(message.code, message.message));
      }
    };
    void this.exited.then((exit) => loaded.reject(diedWhileLoading(exit)));
    try {
      signal.throwIfAborted();
      this.#process.send(command);
      const first = Promise.race([heard.promise, loaded.promise]);
      await withTimeout(this.#clock, engineLimits.startTimeoutMs, first, startTimeout);
      this.#facts = await withTimeout(this.#clock, engineLimits.loadTimeoutMs, loaded.promise, loadTimeout);
    } catch (failure) {
      await this.stop();
      throw failure;
    } finally {
      warmUp?.cancel();
      this.#onLoadMessage = undefined;
      signal.removeEventListener('abort', onAbort);
    }
  }

  /**
   * Runs a job and gives its messages up to its `done`, `tokens` or `devices`; throws what its `failed` says,
   * `engine_lost` when the process dies, the signal's reason when it aborts. A slow reader pauses the process.
   * Leaving the loop cancels the job.
   */
  async *job(
    command: (job: number) => Exclude<ToWorker, LoadCommand>,
    signal: AbortSignal,
  ): AsyncGenerator<JobMessage, void, undefined> {
    signal.throwIfAborted();
    const job = this.#nextJob++;
    const channel = new JobChannel();
    this.#jobs.set(job, channel);
    const onAbort = (): void => channel.end(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      if (!this.#process.send(command(job))) {
        channel.finish(new MeshnodeError('engine_unavailable', 'The process of the engine has just ended.'));
      }
      for await (const message of channel.messages) {
        this.#resumeIfRoom(job, channel);
        yield message;
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#jobs.delete(job);
      if (!channel.finished) {
        this.#cancel(job, channel);
      }
    }
  }

  stop(): Promise<ProcessExit> {
    return this.#process.stop();
  }

  kill(): void {
    this.#process.kill();
  }

  /**
   * A process that does not hear of a cancel in time hangs, as does one that heard of it and never lets go:
   * it is killed, the supervisor starts another. What is being computed may take long on a slow machine.
   */
  #cancel(job: number, channel: JobChannel): void {
    this.#process.send({ type: 'cancel', job } satisfies ToWorker);
    channel.finished = true;
    this.#watchCancel(job, engineLimits.cancelMs);
  }

  #watchCancel(job: number, patienceMs: number): void {
    this.#cancelled.get(job)?.cancel();
    const onTimeout = (): void => {
      this.#log.error({ job }, 'the engine ignores a cancel: its process is killed');
      this.kill();
    };
    this.#cancelled.set(job, this.#clock.after(patienceMs, onTimeout, { keepAlive: false }));
  }

  #receive(raw: unknown): void {
    const parsed = fromWorker.safeParse(raw);
    if (!parsed.success) {
      this.#log.error(
        { issue: parsed.error.issues[0]?.message },
        'the engine wrote rubbish: its process is killed',
      );
      this.kill();
      return;
    }
    const message = parsed.data;
    if ('job' in message) {
      this.#receiveForJob(message);
    } else {
      this.#onLoadMessage?.(message);
    }
  }

  #receiveForJob(message: JobMessage): void {
    const last = isLast(message);
    if (last) {
      this.#cancelled.get(message.job)?.cancel();
      this.#cancelled.delete(message.job);
    }
    if (message.type === 'cancelling' && this.#cancelled.has(message.job)) {
      this.#watchCancel(message.job, engineLimits.stallMs);
    }
    const channel = this.#jobs.get(message.job);
    if (channel === undefined) {
      return;
    }
    if (message.type === 'failed') {
      const { code, message: text, param } = message;
      channel.finish(new MeshnodeError(code, text, param === undefined ? {} : { param }));
      return;
    }
    if (!channel.messages.push(message) && !channel.paused && !last) {
      channel.paused = true;
      this.#process.send({ type: 'pause', job: message.job } satisfies ToWorker);
    }
    if (last) {
      channel.finish();
    }
  }

  #resumeIfRoom(job: number, channel: JobChannel): void {
    if (channel.paused) {
      channel.paused = false;
      void channel.messages.room().then(() => {
        this.#process.send({ type: 'resume', job } satisfies ToWorker);
      });
    }
  }

  #loseJobs(exit: ProcessExit): void {
    const how = describeExit(exit);
    for (const channel of this.#jobs.values()) {
      channel.finish(
        new MeshnodeError('engine_lost', `The process of the engine ${how} in the middle of the answer.`),
      );
    }
    for (const watch of this.#cancelled.values()) {
      watch.cancel();
    }
    this.#cancelled.clear();
  }
}

/** The messages of one job on their way to its reader. */
class JobChannel {
  readonly messages = new Channel<JobMessage>(eventLimits.buffered);
  paused = false;
  /** The process is done with the job, or has been told to drop it. */
  finished = false;

  finish(failure?: MeshnodeError): void {
    this.finished = true;
    this.messages.end(failure);
  }

  /** Ends the reading side only. */
  end(reason: unknown): void {
    this.messages.end(reason);
  }
}

function isLast(message: JobMessage): boolean {
  const last: ReadonlyArray<JobMessage['type']> = ['done', 'failed', 'tokens', 'devices'];
  return last.includes(message.type);
}

function diedWhileLoading(exit: ProcessExit): MeshnodeError {
  const how = describeExit(exit);
  return new MeshnodeError('model_failed', `The process of the engine ${how} while it loaded the model.`, {
    hint: 'Run `meshnode doctor`. If the file is damaged, download it again; if memory ran out, lower --ctx.',
    cause: exit.logTail,
  });
}

function startTimeout(): MeshnodeError {
  return new MeshnodeError('model_failed', 'The process of the engine does not say anything.', {
    hint: 'Run `meshnode doctor`; a stuck graphics driver can be the reason.',
  });
}

function loadTimeout(): MeshnodeError {
  return new MeshnodeError('model_failed', 'The model did not finish loading in time.');
}
