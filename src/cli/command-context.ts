// What a command is handed: its arguments and options, where to print, the machine around it. Commands
// take everything from here and touch no global, so that tests can run them in process.
import type { Flags } from '../node/config.ts';
import { flagOf, settingKeys } from '../node/config-schema.ts';
import type { Clock } from '../util/clock.ts';
import { MeshnodeError } from '../util/errors.ts';
import type { Random } from '../util/random.ts';
import type { Output } from './output.ts';

/** The machine around a command. */
export interface Surroundings {
  readonly clock: Clock;
  readonly random: Random;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly output: Output;
  readonly input: NodeJS.ReadStream;
}

export interface CommandContext extends Surroundings {
  readonly arguments: readonly string[];
  readonly options: Options;
  /** Aborted by the first Ctrl-C or SIGTERM. A second ends the process at once. */
  readonly interrupted: AbortSignal;
}

/** The options as the command line gave them, each read with the type its command expects. */
export class Options {
  readonly #values: Readonly<Record<string, unknown>>;

  /** `values` by the option's long name without dashes, e.g. `max-tokens`. */
  constructor(values: Readonly<Record<string, unknown>>) {
    this.#values = values;
  }

  has(name: string): boolean {
    return this.#values[name] === true;
  }

  text(name: string): string | undefined {
    const value = this.#values[name];
    return typeof value === 'string' ? value : undefined;
  }

  /** Throws `usage` unless the option is absent or a number. */
  number(name: string): number | undefined {
    const text = this.text(name);
    if (text === undefined) {
      return undefined;
    }
    const value = Number(text);
    if (text.trim() === '' || !Number.isFinite(value)) {
      throw new MeshnodeError('usage', `--${name} takes a number, not '${text}'.`);
    }
    return value;
  }

  /** The options that give values to settings, for the configuration to read. */
  flags(): Flags {
    const entries = settingKeys.map((key) => [key, this.#values[flagOf(key).slice(2)]] as const);
    return Object.fromEntries(entries.filter(([, value]) => value !== undefined)) as Flags;
  }
}

/** The argument at `index`, which the command table says is required. */
export function requiredArgument(context: CommandContext, index: number): string {
  const value = context.arguments[index];
  if (value === undefined) {
    throw new MeshnodeError('usage', 'An argument is missing.');
  }
  return value;
}
