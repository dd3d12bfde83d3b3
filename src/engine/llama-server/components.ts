// What the llama-server engine is built with. Types only.
import type { Clock } from '../../util/clock.ts';
import type { Logger } from '../../util/logging.ts';
import type { Random } from '../../util/random.ts';
import type { NativeSearch } from '../native/find-programs.ts';
import type { ProcessRegistry } from '../process-registry.ts';

export interface UsableMemory {
  /** GPUs. */
  readonly gpus: number;
  /** Bytes of all GPUs together; 0 without any. */
  readonly gpuBytes: number;
  /** Bytes of GPUs and RAM together. */
  readonly totalBytes: number;
}

export interface LlamaServerComponents {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Remembers our processes for the sweep at the next start. */
  readonly registry?: ProcessRegistry;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Looks for the programs. Rejects `config_invalid` if those that the user has named cannot be used. */
  findPrograms(signal?: AbortSignal): Promise<NativeSearch>;
  /** Memory that a model may take now. */
  usableMemory(signal?: AbortSignal): Promise<UsableMemory>;
  /** Folder for sockets, readable by its owner only; it need not be there. */
  readonly runFolder: string;
}
