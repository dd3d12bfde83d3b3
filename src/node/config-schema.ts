// The one table of settings: what each is called in the file, the environment and on the command line,
// what it may be, and its default. Configuration, its explanation and its documentation come from it.
import { z } from 'zod';
import { logLevels } from '../util/logging.ts';
import { parseSize } from '../util/size.ts';

/** One setting. Its names derive from its key in `settings`: `consolePort` is `console_port` in the file. */
export interface Setting<Schema extends z.ZodType = z.ZodType> {
  /** One sentence for help and documentation. */
  readonly about: string;
  /** What it may be in the file; values from the environment and the flags pass `fromText` first. */
  readonly schema: Schema;
  readonly fromText: (text: string) => unknown;
  readonly fallback: z.output<Schema>;
  /** The environment variable, where it is not `MESHNODE_` and the key. */
  readonly env?: string;
  /** The flag, where it is not `--` and the key. */
  readonly flag?: string;
  /** Cannot stand in the file: it says where the file is. */
  readonly notInFile?: true;
  /** Never shown. */
  readonly secret?: true;
}

const setting = <Schema extends z.ZodType>(definition: Setting<Schema>): Setting<Schema> => definition;

const asText = (text: string): string => text;
const asList = (text: string): string[] =>
  text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
const asNumber = (text: string): number | string => (/^\d+$/.test(text) ? Number(text) : text);
const asBoolean = (text: string): boolean | string =>
  ({ true: true, '1': true, false: false, '0': false })[text.toLowerCase()] ?? text;

const text = z.string().min(1, 'must not be empty');
const texts = z.array(text);
const port = z.int().min(0).max(65_535);
const count = (least: number, most: number) => z.int().min(least).max(most).optional();
const httpUrl = z.url({ protocol: /^https?$/, message: 'must be an http:// or https:// URL' });
const size = z.string().transform(sizeInBytes).optional();

/** Every setting, in the order in which they are documented. */
export const settings = {
  model: setting({
    about: 'Models to serve: paths to GGUF files, hf:org/repo:QUANT, or names of the catalogue.',
    schema: texts,
    fromText: asList,
    fallback: [],
  }),
  join: setting({
    about: 'Token of the mesh to join, as `meshnode invite` prints it. Not needed again once joined.',
    schema: text.optional(),
    fromText: asText,
    fallback: undefined,
    secret: true,
  }),
  joinFile: setting({
    about: 'File that holds such a token.',
    schema: text.optional(),
    fromText: asText,
    fallback: undefined,
  }),
  client: setting({
    about: 'Take part as a client: ask the mesh, serve it nothing.',
    schema: z.boolean(),
    fromText: asBoolean,
    fallback: false,
  }),
  listenPort: setting({
    about:
      'Port for other nodes, TCP and UDP; 0 takes any free one. Default: the first free from 9338, then kept.',
    schema: port.optional(),
    fromText: asNumber,
    fallback: undefined,
  }),
  bind: setting({
    about: 'IP to listen on for other nodes; 127.0.0.1 keeps to this machine. Default: every interface.',
    schema: z.union([z.ipv4(), z.ipv6()], 'must be an IP address').optional(),
    fromText: asText,
    fallback: undefined,
  }),
  transport: setting({
    about: 'How to reach other nodes: tcp, quic, or all, which takes the better one for each.',
    schema: z.enum(['all', 'tcp', 'quic']),
    fromText: asText,
    fallback: 'all',
  }),
  announce: setting({
    about: 'Multiaddrs by which others can reach this node beside its own, e.g. /dns4/example.org/tcp/9338.',
    schema: texts,
    fromText: asList,
    fallback: [],
  }),
  host: setting({
    about: 'Address of the API. Any but a loopback address needs an API key.',
    schema: text,
    fromText: asText,
    fallback: '127.0.0.1',
  }),
  port: setting({
    about: 'Port of the API; 0 takes any free one.',
    schema: port,
    fromText: asNumber,
    fallback: 9337,
  }),
  consolePort: setting({
    about: 'Port of the management API on 127.0.0.1; 0 takes any free one.',
    schema: port,
    fromText: asNumber,
    fallback: 3131,
  }),
  headless: setting({
    about: 'Run without the management API.',
    schema: z.boolean(),
    fromText: asBoolean,
    fallback: false,
  }),
  engine: setting({
    about:
      'Engine that loads model files: llama-server, embedded, or auto, which takes the first that is there.',
    schema: z.enum(['auto', 'embedded', 'llama-server']),
    fromText: asText,
    fallback: 'auto',
  }),
  llamaServer: setting({
    about:
      'Path of the llama-server to use. Default: the one that `meshnode engine build` made, else that of the PATH.',
    schema: text.optional(),
    fromText: asText,
    fallback: undefined,
  }),
  attach: setting({
    about: 'URLs of OpenAI-speaking servers whose models this node serves too.',
    schema: z.array(httpUrl),
    fromText: asList,
    fallback: [],
  }),
  attachKeyEnv: setting({
    about: 'Name of the environment variable that holds the key of the attached server.',
    schema: z
      .string()
      .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'must be the name of an environment variable')
      .optional(),
    fromText: asText,
    fallback: undefined,
    flag: '--attach-key',
  }),
  maxVram: setting({
    about: 'Most device memory that models may take, e.g. 8GiB.',
    schema: size,
    fromText: asText,
    fallback: undefined,
  }),
  ctx: setting({
    about: 'Tokens of context per request.',
    schema: count(256, 16_777_216),
    fromText: asNumber,
    fallback: undefined,
  }),
  parallel: setting({
    about: 'Requests that a model answers at once.',
    schema: count(1, 256),
    fromText: asNumber,
    fallback: undefined,
  }),
  threads: setting({
    about: 'Threads that a model computes with.',
    schema: count(1, 1024),
    fromText: asNumber,
    fallback: undefined,
  }),
  name: setting({
    about: 'Name of this node, for people. Default: the name of the machine.',
    schema: z
      .string()
      .regex(
        /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/,
        'must be 1 to 64 letters, digits, dots, dashes or underscores',
      )
      .optional(),
    fromText: asText,
    fallback: undefined,
  }),
  dataDir: setting({
    about: 'Folder that holds everything of this node but its models, the configuration too.',
    schema: text.optional(),
    fromText: asText,
    fallback: undefined,
    env: 'MESHNODE_HOME',
    notInFile: true,
  }),
  logLevel: setting({
    about: 'How much is logged to standard error.',
    schema: z.enum(logLevels),
    fromText: asText,
    fallback: 'info',
  }),
  apiKeys: setting({
    about:
      'Keys of the API without limits, beside those of `meshnode keys`. With none of either, a loopback API needs no key.',
    // What a header can carry behind `Bearer`.
    schema: z.array(
      z.string().regex(/^[!-~]{16,}$/, 'must have at least 16 characters, ASCII without spaces'),
    ),
    fromText: asList,
    fallback: [],
    env: 'MESHNODE_API_KEY',
    secret: true,
  }),
  allowedOrigins: setting({
    about: 'Origins of web pages that may call the API, beside those of this machine.',
    schema: z.array(z.string().regex(/^https?:\/\/[^/]+$/, 'must be an origin such as https://example.org')),
    fromText: asList,
    fallback: [],
  }),
  allowedHosts: setting({
    about: 'Names by which the API may be called, beside those of the loopback interface.',
    schema: z.array(text.toLowerCase()),
    fromText: asList,
    fallback: [],
  }),
} as const;

export type SettingKey = keyof typeof settings;

/** A whole configuration. Sizes are bytes. */
export type NodeConfig = {
  readonly [Key in SettingKey]: z.output<(typeof settings)[Key]['schema']>;
};

export const settingKeys = Object.keys(settings) as SettingKey[];

/** The setting as the table's general type. */
export function settingOf(key: SettingKey): Setting {
  return settings[key];
}

/** `consolePort` as the file has it: `console_port`. */
export function fileKeyOf(key: SettingKey): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

export function envNameOf(key: SettingKey): string {
  return settingOf(key).env ?? `MESHNODE_${fileKeyOf(key).toUpperCase()}`;
}

export function flagOf(key: SettingKey): string {
  return settingOf(key).flag ?? `--${fileKeyOf(key).replaceAll('_', '-')}`;
}

/** The setting that a person means by `console_port`, `console-port` or `consolePort`. */
export function findSettingKey(written: string): SettingKey | undefined {
  const plain = (name: string): string => name.replace(/[_-]/g, '').toLowerCase();
  return settingKeys.find((key) => plain(key) === plain(written));
}

function sizeInBytes(written: string, context: z.RefinementCtx): number {
  try {
    return parseSize(written);
  } catch {
    context.addIssue('must be a size with a unit, such as 8GiB');
    return z.NEVER;
  }
}
