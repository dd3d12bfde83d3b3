// What the state of a supervised process means for the model that it serves. Pure.
import { MeshnodeError } from '../util/errors.ts';
import type { ModelState } from './engine.ts';
import type { SupervisedState } from './supervisor.ts';

/** The state of the model whose process is in `state`. */
export function modelState(state: SupervisedState): ModelState {
  switch (state.state) {
    case 'running':
      return { state: 'ready' };
    case 'restarting':
      return { state: 'restarting', error: state.error };
    case 'failed':
      return { state: 'failed', error: state.error };
    case 'stopped':
      return { state: 'unloaded' };
  }
}

/** What a request is told while there is no process to ask. */
export function downError(name: string, state: SupervisedState): MeshnodeError {
  switch (state.state) {
    case 'failed':
      return new MeshnodeError('model_failed', `The model "${name}" is down: ${state.error.message}`);
    case 'stopped':
      return new MeshnodeError('shutting_down', `The model "${name}" has been unloaded.`);
    default:
      return new MeshnodeError('engine_unavailable', `The engine of "${name}" is being restarted.`, {
        retryAfterSeconds: 1,
      });
  }
}
