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
    'What goes on is told with `--json` as one object a line, each with `time` (ISO 8601) and `event`. Fields are',
    'added, never renamed.',
    '',
    '| command | event | fields |',
    '|---|---|---|',
    ...events.map(([command, event, fields]) => `| ${command} | \`${event}\` | ${fields} |`),
    '',
  ].join('\n');
}

const events = [
  [
    'serve',
    'node',
    'peerId, meshId (null without a mesh), role (client, serve, admin), addresses[] (multiaddrs to dial), name, version; once others can reach the node',
  ],
  ['serve', 'invite', 'token (a secret), role, uses, expiresAt; at each start of a node that can invite'],
  [
    'serve',
    'peer',
    'peerId, name?, state (joined, suspect, dead, left), rttMs?, the last one measured; a member that comes, falls silent, is back, or goes; each change once',
  ],
  ['serve', 'api', 'url, the base URL of OpenAI clients'],
  ['serve', 'console', 'url'],
  [
    'serve',
    'model',
    'model, state (resolving, downloading, verifying, placing, loading, ready, failed, unloaded), fraction?, mode? (solo, remote), kinds[]? (chat, completion, embedding, rerank) and engine? (llama-server, embedded, openai-url) once it is ready, error?',
  ],
  [
    'serve',
    'ready',
    'none: the API answers, every model asked for with `--model` is ready, and the node is part of its mesh',
  ],
  ['serve', 'warning', 'message, hint; something will go wrong unless somebody acts'],
  ['run', 'text', 'text, the next piece of the answer'],
  ['run', 'end', 'finishReason (stop, length, ...), completionTokens'],
  [
    'models pull',
    'progress',
    'model, stage (resolving, downloading, verifying), bytes, totalBytes, bytesPerSecond?, etaSeconds?',
  ],
  ['engine build', 'build', 'stage (waiting, unpacking, configuring, compiling, checking), fraction?'],
  ['engine build', 'built', 'build, folder, seconds, isFull, wasThere'],
  ['models pull', 'pulled', 'model, name, path, sizeBytes, sha256 (null if it is not known)'],
  ['any', 'error', 'code (see [errors](errors.md)), message, hint; of a command the last line, if it failed'],
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
