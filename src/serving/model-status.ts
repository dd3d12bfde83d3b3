// What this node can say of a model it serves or is about to serve: the one shape behind `/v1/models`,
// the 503 of a loading model, the `model` events of the command line and the console.
import type { Capabilities, EngineName } from '../engine/engine.ts';
import type { MeshnodeError } from '../util/errors.ts';

/** Where a model is on its way to answering. The order is the usual course. */
export type ModelStage =
  | 'resolving'
  | 'downloading'
  | 'verifying'
  | 'placing'
  | 'loading'
  | 'ready'
  | 'failed'
  | 'unloaded';

export interface ModelStatus {
  /** Name that clients ask for. */
  readonly name: string;
  /** What was asked for: a path, `hf:...`, a catalogue name, or `url:` of an attached server. */
  readonly reference: string;
  readonly stage: ModelStage;
  /** 0 to 1 within the stage, if known. */
  readonly fraction?: number;
  /** Seconds until ready, only if it can be told. */
  readonly etaSeconds?: number;
  /** Why it failed, or why its process is being started again while `stage` is `loading`. */
  readonly error?: MeshnodeError;
  readonly engine?: EngineName;
  readonly capabilities?: Capabilities;
  /** Lower-case hex SHA-256 of the weights; `pending` while being computed; absent for attached models. */
  readonly digest?: string;
  /** Bytes of the file(s) on disk. */
  readonly sizeBytes?: number;
  /** When the model was asked for, wall-clock milliseconds. */
  readonly createdMs: number;
}
