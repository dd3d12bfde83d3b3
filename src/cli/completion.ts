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

/** A command with the words that lead to it; none for `meshnode` itself, which stands for the default one. */
interface CommandPath {
  readonly words: readonly string[];
  readonly spec: CommandSpec;
}

function allCommands(specs: readonly CommandSpec[], before: readonly string[] = []): CommandPath[] {
  return specs.flatMap((spec) => {
    const words = [...before, spec.name];
    return [{ words, spec }, ...allCommands(spec.subcommands ?? [], words)];
  });
}

function completedCommands(): CommandPath[] {
  const fallback = commandTable.find((spec) => spec.isDefault);
  const top = { name: 'meshnode', summary: '', options: fallback?.options ?? [], subcommands: commandTable };
  return [{ words: [], spec: top }, ...allCommands(commandTable)];
}

function optionsOf(spec: CommandSpec): OptionSpec[] {
  return [...(spec.options ?? []), ...commonOptions];
}

/** The words that an argument of `spec` may be. */
function fixedWords(spec: CommandSpec): string[] {
  return (spec.arguments ?? []).flatMap(({ completes }) => (Array.isArray(completes) ? completes : []));
}

function takesModel(spec: CommandSpec): boolean {
  return (spec.arguments ?? []).some((argument) => argument.completes === 'models');
}

function longFlag(option: OptionSpec): string {
  return option.flags.split(' ')[0] ?? option.flags;
}

function takesValue(option: OptionSpec): boolean {
  return option.flags.includes('<');
}

/** Options whose next word is their value. */
function valueFlags(): string[] {
  const options = completedCommands().flatMap(({ spec }) => optionsOf(spec));
  return [...new Set(options.filter(takesValue).map(longFlag))];
}

/** Prints one model name a line. Whoever has one of these shells has sed. */
const listModelNames = `meshnode models --json 2>/dev/null | sed -n 's/.*"reference":"\\([^"]*\\)".*/\\1/p'`;

/**
 * For zsh too, which gives `path` and `words` a meaning of its own: no variable may be called so. Bash breaks
 * words at `=` and `:`, so what follows one of them belongs to the word before.
 */
function bashScript(): string {
  const commands = completedCommands();
  const cases = commands.map(({ words, spec }) => {
    const subcommands = (spec.subcommands ?? []).map((subcommand) => subcommand.name);
    const flags = [...optionsOf(spec).map(longFlag), '--help'];
    const offered = [...subcommands, ...fixedWords(spec), ...flags].join(' ');
    const models = takesModel(spec) ? ` $(${listModelNames})` : '';
    return `    ${JSON.stringify(words.join(' '))}) offered="${offered}${models}" ;;`;
  });
  const known = commands.map(({ words }) => words.join(' ')).join('|');
  return `# bash completion of meshnode, generated: do not edit
_meshnode() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}"
  local typed="" is_value="" word offered
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$word" in
      "=" | ":") is_value=yes; continue ;;
    esac
    if [ -n "$is_value" ]; then
      is_value=""
      continue
    fi
    case "$word" in
      ${valueFlags().join(' | ')}) is_value=yes ;;
      -*) ;;
      *)
        case "${known}|" in
          *"|\${typed:+$typed }$word|"*) typed="\${typed:+$typed }$word" ;;
        esac
        ;;
    esac
  done
  if [ "$previous" = "--model" ]; then
    COMPREPLY=($(compgen -W "$(${listModelNames})" -- "$current") $(compgen -f -X '!*.gguf' -- "$current"))
    return
  fi
  if [ -n "$is_value" ]; then
    COMPREPLY=()
    return
  fi
  case "$typed" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$offered" -- "$current"))
}
complete -o default -F _meshnode meshnode
`;
}

function fishScript(): string {
  const commands = completedCommands();
  const known = commands.flatMap(({ words }) => (words.length === 0 ? [] : fishQuote(words.join(' '))));
  return `# fish completion of meshnode, generated: do not edit
function __meshnode_models
    ${listModelNames}
end

# Whether the words typed so far, without options and their values, lead to the command of the arguments.
function __meshnode_at
    set -l tokens (commandline -opc)
    set -e tokens[1]
    set -l typed
    set -l is_value no
    for token in $tokens
        if test $is_value = yes
            set is_value no
        else if contains -- $token ${valueFlags().join(' ')}
            set is_value yes
        else if contains -- (string join -- ' ' $typed $token) ${known.join(' ')}
            set typed $typed $token
        end
    end
    test "$typed" = "$argv"
end

${commands.flatMap(fishLines).join('\n')}
`;
}

/** What fish may offer once a command was typed. */
function fishLines({ words, spec }: CommandPath): string[] {
  const line = `complete -c meshnode -n ${fishQuote(`__meshnode_at ${words.join(' ')}`.trimEnd())}`;
  const fixed = fixedWords(spec);
  return [
    ...(spec.subcommands ?? []).map(({ name, summary }) => `${line} -f -a ${name} -d ${fishQuote(summary)}`),
    ...(fixed.length === 0 ? [] : [`${line} -f -a ${fishQuote(fixed.join(' '))}`]),
    ...(takesModel(spec) ? [`${line} -a '(__meshnode_models)'`] : []),
    ...optionsOf(spec).map((option) => {
      const value = takesValue(option) ? ' -r' : '';
      const models = option.setting === 'model' ? ` -a '(__meshnode_models)'` : '';
      return `${line} -l ${longFlag(option).slice(2)}${value}${models} -d ${fishQuote(option.summary)}`;
    }),
  ];
}

function fishQuote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
