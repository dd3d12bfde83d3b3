// Turns the command table into a parser (commander) and runs the command that was asked for. The only
// place that maps failures to messages and exit codes.
import { Command, CommanderError, Option } from 'commander';
import { closest, distance } from 'fastest-levenshtein';
import { errorFields } from '../node/events.ts';
import { asMeshnodeError, MeshnodeError } from '../util/errors.ts';
import { Options, type Surroundings } from './command-context.ts';
import { type CommandSpec, commandTable, commonOptions, type OptionSpec } from './command-table.ts';
import type { Output } from './output.ts';

/** Runs the command line `argv` (without program and script). Resolves to the exit code. */
export async function runProgram(
  argv: readonly string[],
  surroundings: Surroundings,
  interrupted: AbortSignal,
): Promise<number> {
  let exitCode = 0;
  const execute = async (spec: CommandSpec, command: Command): Promise<void> => {
    const run = await spec.load?.();
    if (run === undefined) {
      throw new MeshnodeError('usage', `'${spec.name}' needs a subcommand.`);
    }
    exitCode = await run({
      ...surroundings,
      arguments: command.args,
      options: new Options(optionValues(command)),
      interrupted,
    });
  };
  try {
    assertKnownCommand(argv);
    await buildProgram(surroundings.output, execute).parseAsync([...argv], { from: 'user' });
    return exitCode;
  } catch (thrown) {
    return report(interrupted.aborted ? interruption(thrown, interrupted) : thrown, surroundings);
  }
}

/** Some parts say in their own way that their work was ended from outside. */
function interruption(thrown: unknown, interrupted: AbortSignal): unknown {
  return asMeshnodeError(thrown).code === 'cancelled' ? interrupted.reason : thrown;
}

/** The parser for the whole table. */
function buildProgram(
  output: Output,
  execute: (spec: CommandSpec, command: Command) => Promise<void>,
): Command {
  const program = new Command('meshnode')
    .description('One OpenAI endpoint out of the machines a group of people own.')
    .configureOutput({
      writeOut: (text) => output.streams.stdout.write(text),
      // Errors are printed by `report`, once, in our form.
      writeErr: () => {},
    })
    .exitOverride()
    .addHelpText('after', '\nHelp on a command: meshnode COMMAND --help');
  for (const spec of commandTable) {
    addCommand(program, spec, execute);
  }
  return program;
}

function addCommand(
  parent: Command,
  spec: CommandSpec,
  execute: (spec: CommandSpec, command: Command) => Promise<void>,
): void {
  const command = parent.command(spec.name, { isDefault: spec.isDefault ?? false });
  command.description([spec.summary, spec.details].filter((text) => text !== undefined).join('\n'));
  command.allowExcessArguments(false).exitOverride();
  for (const argument of spec.arguments ?? []) {
    command.argument(argument.name, argument.summary);
  }
  for (const option of [...(spec.options ?? []), ...commonOptions]) {
    command.addOption(commanderOption(option));
  }
  if (spec.examples !== undefined) {
    command.addHelpText('after', `\nExamples:\n${spec.examples.map((example) => `  ${example}`).join('\n')}`);
  }
  if (spec.load !== undefined) {
    command.action(() => execute(spec, command));
  }
  for (const subcommand of spec.subcommands ?? []) {
    addCommand(command, subcommand, execute);
  }
}

function commanderOption(spec: OptionSpec): Option {
  const summary =
    spec.defaultText === undefined ? spec.summary : `${spec.summary} (default: ${spec.defaultText})`;
  const option = new Option(spec.flags, summary);
  if (spec.repeatable === true) {
    option.argParser((value: string, earlier: string[] | undefined) => [...(earlier ?? []), value]);
  }
  return option;
}

/** Option values by long name: commander stores them by a name of its own making. */
function optionValues(command: Command): Record<string, unknown> {
  const values = command.optsWithGlobals();
  return Object.fromEntries(
    command.options.map((option) => [option.long?.slice(2) ?? option.name(), values[option.attributeName()]]),
  );
}

/** Without this a mistyped command would be taken for an argument of the default one. */
function assertKnownCommand(argv: readonly string[]): void {
  const [first] = argv;
  const names = [...commandTable.map((spec) => spec.name), 'help'];
  if (first === undefined || first.startsWith('-') || names.includes(first)) {
    return;
  }
  const near = closest(first, names);
  const suggestion = distance(first, near) <= 3 ? ` Did you mean '${near}'?` : '';
  throw new MeshnodeError('usage', `There is no command '${first}'.${suggestion}`);
}

/** Prints a failure: one sentence, then what to do. */
function report(thrown: unknown, surroundings: Surroundings): number {
  if (thrown instanceof CommanderError) {
    return reportUsage(thrown, surroundings);
  }
  const { output } = surroundings;
  const error = asMeshnodeError(thrown);
  if (output.json) {
    output.event({ event: 'error', ...errorFields(error) });
  }
  output.say(`${output.styled('bad', 'meshnode:', 'stderr')} ${error.message}`);
  // Who stopped it knows what to do.
  if (error.code !== 'interrupted') {
    output.say(`  ${error.hint}`);
  }
  if (error.code === 'internal' && error.cause instanceof Error) {
    output.say(output.styled('dim', error.cause.stack ?? error.cause.message, 'stderr'));
  }
  return error.kind.exitCode;
}

/** Help and version end as this error too, with exit code 0 and nothing left to say. */
function reportUsage(error: CommanderError, surroundings: Surroundings): number {
  if (error.exitCode === 0 || error.code === 'commander.help') {
    return 0;
  }
  return report(new MeshnodeError('usage', sentence(error.message)), surroundings);
}

/** Commander writes `error: unknown option '--x'`. */
function sentence(message: string): string {
  const text = message.replace(/^error: /, '').replaceAll('\n', ' ');
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${text.endsWith('.') || text.endsWith(')') ? '' : '.'}`;
}
