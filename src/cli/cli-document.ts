// docs/CLI.md, made from the command table and the table of settings. Pure.
import { envNameOf, fileKeyOf, settingKeys, settingOf } from '../node/config-schema.ts';
import { type CommandSpec, commandTable, commonOptions, type OptionSpec } from './command-table.ts';

export function cliMarkdown(): string {
  return [
    '# Commands',
    '',
    'Made from the command table by `npm run docs`: do not edit.',
    '',
    'Standard output carries data, standard error words for people. Exit codes: 0 done, 1 failed, 2 wrong usage,',
    '69 unavailable, 130 interrupted. The first Ctrl-C lets running answers finish (at most 5 s), the second does not.',
    '',
    'Every command takes:',
    '',
    ...optionLines(commonOptions),
    '',
    ...commandTable.flatMap((spec) => commandSection(spec, [])),
    '## Settings',
    '',
    'A flag wins over the environment, that over the configuration file (TOML), that over the default.',
    '`meshnode config explain KEY` says which won.',
    '',
    '| in the file | in the environment | what it is |',
    '|---|---|---|',
    ...settingKeys.map((key) => {
      const { about, notInFile } = settingOf(key);
      return `| ${notInFile ? '' : `\`${fileKeyOf(key)}\``} | \`${envNameOf(key)}\` | ${about} |`;
    }),
    '',
    '## Events',
    '',
    '`meshnode serve --json` prints one object a line, each with `time` and `event`. Fields are added, never renamed.',
    '',
    '| event | fields |',
    '|---|---|',
    ...events.map(([event, fields]) => `| \`${event}\` | ${fields} |`),
    '',
  ].join('\n');
}

const events = [
  ['node', 'peerId, meshId (null until there is a mesh), role, addresses[], name, version'],
  ['api', 'url, the base URL of OpenAI clients'],
  ['console', 'url'],
  [
    'model',
    'model, state (resolving, downloading, verifying, placing, loading, ready, failed, unloaded), fraction?, mode? (solo, remote), error?',
  ],
  ['ready', 'none: the API answers and every model asked for with `--model` is ready'],
  ['error', 'code (see [errors](errors.md)), message, hint'],
] as const;

function commandSection(spec: CommandSpec, before: readonly string[]): string[] {
  const words = [...before, spec.name];
  const usage = ['meshnode', ...words, ...(spec.arguments ?? []).map(({ name }) => name)].join(' ');
  const subcommands = (spec.subcommands ?? []).flatMap((subcommand) => commandSection(subcommand, words));
  return [
    `## \`${usage}\``,
    '',
    `${capitalised(spec.summary)}.${spec.details === undefined ? '' : ` ${spec.details}`}`,
    '',
    ...(spec.arguments ?? []).map(({ name, summary }) => `- \`${name}\`: ${summary}`),
    ...optionLines(spec.options ?? []),
    ...((spec.arguments ?? []).length + (spec.options ?? []).length > 0 ? [''] : []),
    ...(spec.examples === undefined ? [] : ['```sh', ...spec.examples, '```', '']),
    ...subcommands,
  ];
}

function optionLines(options: readonly OptionSpec[]): string[] {
  return options.map(({ flags, summary, defaultText }) => {
    const fallback = defaultText === undefined ? '' : ` Default: ${defaultText}.`;
    return `- \`${flags}\`: ${summary}${fallback}`;
  });
}

function capitalised(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
}
