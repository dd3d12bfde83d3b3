// Keeps one process running: the first start, and after every crash another, as restart-policy.ts says.
// What a run is, and when it is ready, is up to whoever hands in `start`.
import { Emitter } from '../util/async.ts';
import { type Clock, sleep } from '../util/clock.ts';
import { asMeshnodeError, MeshnodeError } from '../util/errors.ts';
import type { Logger } from '../util/logging.ts';
import type { Random } from '../util/random.ts';
import { describeExit, type ProcessExit } from './process.ts';
import {
  decideRestart,
  freshRestartState,
  type RestartDecision,
  type RestartEvent,
} from './restart-policy.ts';

export type SupervisedState =
  | { readonly state: 'running' }
  /** `attempt` counts from 1 in a row of crashes; `error` is the last crash. */
  | { readonly state: 'restarting'; readonly attempt: number; readonly error: MeshnodeError }
  | { readonly state: 'failed'; readonly error: MeshnodeError }
  | { readonly state: 'stopped' };

/** What is kept running. */
export interface Run {
  /** Resolves when the run is over, for whatever reason. */
  readonly exited: Promise<ProcessExit>;
  stop(): Promise<unknown>;
  kill(): void;
}

export interface Supervised<R extends Run> {
  readonly state: SupervisedState;
  /** Tells of every later state; the returned function removes the listener. */
  onChange(listener: (state: SupervisedState) => void): () => void;
  /** The run that is ready, if one is. */
  current(): R | undefined;
  /** Ends a run that is hung; it counts as a crash for `reason`. Does nothing while none is ready. */
  restart(reason: MeshnodeError): void;
  /** Ends the run, or the wait for the next. Idempotent. */
  stop(): Promise<void>;
}

export interface SuperviseOptions<R extends Run> {
  /** What logs and errors call it. */
  readonly name: string;
  /**
   * Resolves once the run is ready; rejects if it cannot be or the signal aborts, and leaves nothing
   * running then.
   */
  readonly start: (signal: AbortSignal) => Promise<R>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Ends the first start. Afterwards there is `stop`. */
  readonly signal?: AbortSignal;
}

/** Resolves once the first start succeeded; rejects with its failure, nothing left running. */
export async function supervise<R extends Run>(options: SuperviseOptions<R>): Promise<Supervised<R>> {
  return new Supervisor(options, await startRun(options, options.signal ?? new AbortController().signal));
}

/** A run that becomes ready after the signal aborted is stopped, not kept. */
async function startRun<R extends Run>(options: SuperviseOptions<R>, signal: AbortSignal): Promise<R> {
  signal.throwIfAborted();
  const run = await options.start(signal);
  if (signal.aborted) {
    await run.stop();
    throw signal.reason;
  }
  return run;
}

class Supervisor<R extends Run> implements Supervised<R> {
  readonly #options: SuperviseOptions<R>;
  readonly #changes: Emitter<SupervisedState>;
  readonly #stopping = new AbortController();
  readonly #done: Promise<void>;
  #state: SupervisedState = { state: 'running' };
  #restarts = freshRestartState;
  #run: R | undefined;
  #killedFor: MeshnodeError | undefined;

  constructor(options: SuperviseOptions<R>, first: R) {
    this.#options = options;
    this.#changes = new Emitter((cause) => options.log.error({ err: cause }, 'a listener for states failed'));
    this.#adopt(first);
    this.#done = this.#keepRunning(first);
  }

  get state(): SupervisedState {
    return this.#state;
  }

  onChange(listener: (state: SupervisedState) => void): () => void {
    return this.#changes.listen(listener);
  }

  current(): R | undefined {
    return this.#run;
  }

  restart(reason: MeshnodeError): void {
    if (this.#run !== undefined) {
      this.#killedFor ??= reason;
      this.#run.kill();
    }
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new MeshnodeError('shutting_down', `${this.#options.name} is being stopped.`));
    await this.#run?.stop();
    await this.#done;
    this.#enter({ state: 'stopped' });
  }

  /** Never rejects. Ends when stopped, or when the policy gives up. */
  async #keepRunning(first: R): Promise<void> {
    let run: R | undefined = first;
    while (run !== undefined) {
      const exit: ProcessExit = await run.exited;
      this.#run = undefined;
      run = this.#stopping.signal.aborted ? undefined : await this.#startAgain(this.#crashError(exit));
    }
  }

  /** Tries until a run is ready. Undefined if stopped meanwhile, or if it failed too often. */
  async #startAgain(crash: MeshnodeError): Promise<R | undefined> {
    const { clock, random } = this.#options;
    const { signal } = this.#stopping;
    let error = crash;
    while (true) {
      const decision = this.#decide({ kind: 'crashed', jitter: random.float() });
      if (decision.action !== 'restart') {
        this.#enter({ state: 'failed', error: this.#finalError(error) });
        return undefined;
      }
      this.#enter({ state: 'restarting', attempt: decision.attempt, error });
      try {
        await sleep(clock, decision.waitMs, signal);
        const run = await startRun(this.#options, signal);
        this.#adopt(run);
        this.#enter({ state: 'running' });
        return run;
      } catch (thrown) {
        if (signal.aborted) {
          return undefined;
        }
        error = asMeshnodeError(thrown, 'model_failed');
      }
    }
  }

  #adopt(run: R): void {
    this.#run = run;
    this.#killedFor = undefined;
    this.#decide({ kind: 'ready' });
  }

  #decide(event: RestartEvent): RestartDecision {
    const [state, decision] = decideRestart(this.#restarts, event, this.#options.clock.monotonicMs());
    this.#restarts = state;
    return decision;
  }

  #enter(state: SupervisedState): void {
    if (this.#state.state === 'stopped') {
      return;
    }
    this.#state = state;
    this.#log(state);
    this.#changes.emit(state);
  }

  #log(state: SupervisedState): void {
    const { log, name } = this.#options;
    if (state.state === 'restarting') {
      log.warn({ process: name, attempt: state.attempt, err: state.error }, 'lost; starting it again');
    } else if (state.state === 'failed') {
      log.error({ process: name, err: state.error }, 'failed too often; it stays down');
    } else {
      log.debug({ process: name }, state.state);
    }
  }

  #crashError(exit: ProcessExit): MeshnodeError {
    return (
      this.#killedFor ??
      new MeshnodeError(
        'engine_unavailable',
        `The process of ${this.#options.name} ${describeExit(exit)}; it is being started again.`,
        { cause: new Error(exit.logTail) },
      )
    );
  }

  #finalError(last: MeshnodeError): MeshnodeError {
    return new MeshnodeError(
      'model_failed',
      `${this.#options.name} failed ${this.#restarts.crashes} times in a row. The last time: ${last.message}`,
      { cause: last },
    );
  }
}
