// The keys a running node accepts: those of its configuration and those of the key file, whose changes it
// notices. Never writes the file.
import type { ApiKey, KeyRing } from '../api/key-ring.ts';
import { hashedKey } from '../http/guards.ts';
import type { Clock } from '../util/clock.ts';
import { asMeshnodeError } from '../util/errors.ts';
import { nodeLimits } from '../util/limits/node.ts';
import type { Logger } from '../util/logging.ts';
import { keyFilePath, parseKeyFile, readKeyFile } from './key-file.ts';

export interface NodeKeysComponents {
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Reads the file again when somebody calls and the last look is longer ago than nodeLimits.keyFileLookMs:
 * nothing runs while nobody calls, no file system's watching or times have to be trusted, and a key that
 * was revoked an hour ago does not work once more before that is noticed.
 */
export class NodeKeys implements KeyRing {
  readonly #path: string;
  readonly #configured: readonly ApiKey[];
  readonly #components: NodeKeysComponents;
  #text: string | undefined;
  #keys: readonly ApiKey[] | undefined;
  #lookedMs = Number.NEGATIVE_INFINITY;
  #looking: Promise<void> | undefined;
  /** What is wrong with the file now, to be logged once. */
  #complaint: string | undefined;

  private constructor(dataDir: string, configured: readonly string[], components: NodeKeysComponents) {
    this.#path = keyFilePath(dataDir);
    this.#configured = configured.map((key, index) => hashedKey(`key-${index + 1}`, key));
    this.#components = components;
  }

  /** The keys of a data folder and `configured` ones, which have no limits. Rejects with `config_invalid`. */
  static async open(
    dataDir: string,
    configured: readonly string[],
    components: NodeKeysComponents,
  ): Promise<NodeKeys> {
    const keys = new NodeKeys(dataDir, configured, components);
    await keys.#read();
    return keys;
  }

  async current(): Promise<readonly ApiKey[] | undefined> {
    const { clock } = this.#components;
    if (clock.monotonicMs() - this.#lookedMs >= nodeLimits.keyFileLookMs) {
      this.#looking ??= this.#look().finally(() => {
        this.#lookedMs = clock.monotonicMs();
        this.#looking = undefined;
      });
      await this.#looking;
    }
    return this.#keys;
  }

  /** A file that cannot be understood changes nothing: a slip of the owner must not lock everybody out. */
  async #look(): Promise<void> {
    try {
      await this.#read();
      this.#complaint = undefined;
    } catch (thrown) {
      const { message } = asMeshnodeError(thrown);
      if (message !== this.#complaint) {
        this.#complaint = message;
        this.#components.log.error({ err: thrown }, 'the API keys stay as they were');
      }
    }
  }

  async #read(): Promise<void> {
    const text = await readKeyFile(this.#path);
    if (text === this.#text && this.#keys !== undefined) {
      return;
    }
    const ofFile = text === undefined ? undefined : parseKeyFile(this.#path, text);
    this.#text = text;
    this.#keys =
      ofFile === undefined && this.#configured.length === 0
        ? undefined
        : [...this.#configured, ...(ofFile ?? [])];
  }
}
