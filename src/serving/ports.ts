// What serving needs from elsewhere, as types only: finding a model's file, judging memory, hashing
// weights, watching an attached server. The composition root hands the real ones in.
import type { LoadOptions } from '../engine/engine.ts';
import type { AttachedServer } from '../engine/openai-url/openai-url.ts';
import type { DownloadOptions } from '../models/download-progress.ts';
import type { ResolvedModel } from '../models/resolve-model.ts';

/** The options that every model of a node is loaded with. */
export type ServingOptions = Pick<LoadOptions, 'contextTokens' | 'parallel' | 'maxMemoryBytes' | 'threads'>;

/** What a model would take and what is there, bytes. */
export interface MemoryFit {
  readonly neededBytes: number;
  readonly usableBytes: number;
  /** Tokens of context that `neededBytes` counts. */
  readonly contextTokens: number;
}

/** The parts of the node that serving calls. */
export interface ServingPorts {
  /** Finds the files, downloading them if need be. Rejects with the codes of models and downloads. */
  resolve(reference: string, options: DownloadOptions): Promise<ResolvedModel>;
  /**
   * What the model needs with these options, at the least, and what this machine can give now beside the
   * `heldBytes` that models of ours hold already.
   */
  fit(
    model: ResolvedModel,
    options: ServingOptions,
    heldBytes: number,
    signal: AbortSignal,
  ): Promise<MemoryFit>;
  /** Bytes that the model takes with exactly this context and this many slots. */
  demand(model: ResolvedModel, loaded: { contextTokens: number; parallel: number }): Promise<number>;
  /** The same for two ways to one file, e.g. through a symbolic link. */
  identity(model: ResolvedModel): Promise<string>;
  /** Lower-case hex SHA-256 of the weights. */
  digest(model: ResolvedModel, signal: AbortSignal): Promise<string>;
  /** Connects to an OpenAI-speaking server. Rejects with `attach_failed`. */
  attach(url: string, signal: AbortSignal): Promise<AttachedServer>;
}
