// Completion scripts for bash, zsh and fish, made from the command table. Names of models are asked for
// at the moment of completing, with `meshnode models --json`.
import { MeshnodeError } from '../util/errors.ts';
import { type CommandContext, requiredArgument } from './command-context.ts';
import { type CommandSpec, commandTable, commonOptions, type OptionSpec } from './command-table.ts';

/** `meshnode completion SHELL` */
export async function completion(context: CommandContext): Promise<number> {
  const shell = requiredArgument(context, 0);
  const script = scripts[shell];
  if (script === undefined) {
    throw new MeshnodeError('usage', `There is no completion for '${shell}': ask for bash, zsh or fish.`);
  }
  context.output.piece(script());
  return 0;
}

const scripts: Readonly<Record<string, () => string>> = {
  bash: bashScript,
  zsh: () => `#compdef meshnode\nautoload -U +X bashcompinit && bashcompinit\n${bashScript()}`,
  fish: fishScript,
};

/** A command with the words that lead to it. */
interface CommandPath {
  readonly words: readonly string[];
  readonly spec: CommandSpec;
}

function allCommands(
  specs: readonly CommandSpec[] = commandTable,
  before: readonly string[] = [],
): CommandPath[] {
  return specs.flatMap((spec) => {
    const words = [...before, spec.name];
    return [{ words, spec }, ...allCommands(spec.subcommands ?? [], words)];
  });
}

/** Every word that may follow `spec`: its options, subcommands and fixed argument words. */
function wordsAfter(spec: CommandSpec): string[] {
  const options = [...(spec.options ?? []), ...commonOptions].map(longFlag);
  const subcommands = (spec.subcommands ?? []).map((subcommand) => subcommand.name);
  const fixed = (spec.arguments ?? []).flatMap(({ completes }) =>
    Array.isArray(completes) ? completes : [],
  );
  return [...subcommands, ...fixed, ...options, '--help'];
}

function takesModel(spec: CommandSpec): boolean {
  return (spec.arguments ?? []).some((argument) => argument.completes === 'models');
}

function longFlag(option: OptionSpec): string {
  return option.flags.split(' ')[0] ?? option.flags;
}

/** Prints one model name a line. Node is there: meshnode runs on it. */
const listModelNames = `meshnode models --json 2>/dev/null | sed -n 's/.*"reference":"\\([^"]*\\)".*/\\1/p'`;

function bashScript(): string {
  const cases = allCommands().map(({ words, spec }) => {
    const models = takesModel(spec) ? ` $(${listModelNames})` : '';
    return `    ${JSON.stringify(words.join(' '))}) words="${wordsAfter(spec).join(' ')}${models}" ;;`;
  });
  const serve = commandTable.find((spec) => spec.isDefault);
  const top = [...commandTable.map((spec) => spec.name), ...(serve === undefined ? [] : wordsAfter(serve))];
  return `# bash completion of meshnode, generated: do not edit
_meshnode() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" path="" word words
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$word" in -*) ;; *) path="\${path:+$path }$word" ;; esac
  done
  if [ "$previous" = "--model" ]; then
    COMPREPLY=($(compgen -W "$(${listModelNames})" -- "$current") $(compgen -f -X '!*.gguf' -- "$current"))
    return
  fi
  case "$path" in
${cases.join('\n')}
    *) words="${top.join(' ')}" ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _meshnode meshnode
`;
}

function fishScript(): string {
  const lines = allCommands().flatMap(({ words, spec }) => {
    const parent = words.slice(0, -1);
    const condition =
      parent.length === 0 ? '__fish_use_subcommand' : `__fish_seen_subcommand_from ${parent.join(' ')}`;
    const here = `__fish_seen_subcommand_from ${spec.name}`;
    return [
      `complete -c meshnode -f -n '${condition}' -a ${spec.name} -d ${fishQuote(spec.summary)}`,
      ...[...(spec.options ?? []), ...commonOptions].map(
        (option) =>
          `complete -c meshnode -n '${here}' -l ${longFlag(option).slice(2)}${option.flags.includes('<') ? ' -r' : ''} -d ${fishQuote(option.summary)}`,
      ),
      ...(takesModel(spec)
        ? [`complete -c meshnode -f -n '${here}' -a '(${listModelNames.replaceAll("'", "\\'")})'`]
        : []),
    ];
  });
  return `# fish completion of meshnode, generated: do not edit\n${lines.join('\n')}\n`;
}

function fishQuote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
