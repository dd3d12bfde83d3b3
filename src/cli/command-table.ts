// The one table of commands: the parser, the help, the shell completions and docs/CLI.md are made from it.
// A command's code is loaded only when it runs.
import { flagOf, type SettingKey, settingOf } from '../node/config-schema.ts';
import type { CommandContext } from './command-context.ts';

/** An option of a command. */
export interface OptionSpec {
  /** Commander's notation, e.g. `--port <number>`. */
  readonly flags: string;
  readonly summary: string;
  /** The setting it gives a value to. */
  readonly setting?: SettingKey;
  /** May be given several times. */
  readonly repeatable?: boolean;
  /** What the help says the default is. */
  readonly defaultText?: string;
}

export interface ArgumentSpec {
  /** Commander's notation: `<name>` is required, `[name]` is not. */
  readonly name: string;
  readonly summary: string;
  /** What the shell offers: names of models, or fixed words. */
  readonly completes?: 'models' | readonly string[];
}

export interface CommandSpec {
  readonly name: string;
  readonly summary: string;
  /** More lines for the help of this command. */
  readonly details?: string;
  readonly arguments?: readonly ArgumentSpec[];
  readonly options?: readonly OptionSpec[];
  readonly examples?: readonly string[];
  /** Runs when no command is named. */
  readonly isDefault?: boolean;
  /** Absent for a command that only has subcommands. */
  readonly load?: () => Promise<CommandRun>;
  readonly subcommands?: readonly CommandSpec[];
}

/** Runs a command; resolves to its exit code. */
export type CommandRun = (context: CommandContext) => Promise<number>;

/** The option that sets `key`, named and described as the table of settings says. `value` is its placeholder. */
function settingOption(key: SettingKey, value?: string): OptionSpec {
  const setting = settingOf(key);
  const { fallback } = setting;
  const shown = typeof fallback === 'string' || typeof fallback === 'number' ? String(fallback) : undefined;
  return {
    flags: value === undefined ? flagOf(key) : `${flagOf(key)} <${value}>`,
    summary: setting.about,
    setting: key,
    ...(Array.isArray(fallback) ? { repeatable: true } : {}),
    ...(shown === undefined ? {} : { defaultText: shown }),
  };
}

/** Options that every command takes. */
export const commonOptions: readonly OptionSpec[] = [
  { flags: '--json', summary: 'Print data for programs: one JSON value, or one a line for what goes on.' },
  settingOption('dataDir', 'folder'),
  settingOption('logLevel', 'level'),
];

const maxVram = settingOption('maxVram', 'size');

const passphraseFile: OptionSpec = {
  flags: '--passphrase-file <file>',
  summary: 'read the passphrase from a file',
};

const engineOptions: readonly OptionSpec[] = [settingOption('llamaServer', 'path')];

const serveOptions: readonly OptionSpec[] = [
  settingOption('model', 'ref'),
  settingOption('join', 'token'),
  settingOption('joinFile', 'file'),
  settingOption('client'),
  settingOption('listenPort', 'number'),
  settingOption('bind', 'ip'),
  settingOption('transport', 'name'),
  settingOption('announce', 'address'),
  settingOption('port', 'number'),
  settingOption('host', 'address'),
  settingOption('consolePort', 'number'),
  settingOption('headless'),
  settingOption('engine', 'name'),
  settingOption('llamaServer', 'path'),
  settingOption('attach', 'url'),
  settingOption('attachKeyEnv', 'variable'),
  maxVram,
  settingOption('ctx', 'tokens'),
  settingOption('parallel', 'number'),
  settingOption('threads', 'number'),
  settingOption('name', 'name'),
];

export const commandTable: readonly CommandSpec[] = [
  {
    name: 'serve',
    summary: 'run a node (the default command)',
    details: 'The API answers from the first second; models get ready behind it.',
    options: serveOptions,
    examples: [
      'meshnode --model demo',
      'meshnode --join TOKEN',
      'meshnode --model hf:Qwen/Qwen3-0.6B-GGUF:Q8_0 --port 0 --json',
    ],
    isDefault: true,
    load: async () => (await import('./serve.ts')).serve,
  },
  {
    name: 'run',
    summary: 'chat with a model in the terminal',
    details:
      'Uses the running node, which asks another one of its mesh if that serves a model of this name, or starts one for as long as the chat lasts.',
    arguments: [
      { name: '<model>', summary: 'what --model takes', completes: 'models' },
      { name: '[prompt]', summary: 'one question; without it, a conversation' },
    ],
    options: [
      { flags: '--system <text>', summary: 'system message of the conversation' },
      { flags: '--temperature <number>', summary: '0 gives the same answer every time' },
      { flags: '--max-tokens <number>', summary: 'longest answer, in tokens' },
    ],
    examples: ['meshnode run demo "What is the capital of France?"', 'echo hello | meshnode run demo'],
    load: async () => (await import('./run.ts')).run,
  },
  {
    name: 'status',
    summary: 'what the running node does, and its mesh at a glance',
    load: async () => (await import('./status.ts')).status,
  },
  {
    name: 'invite',
    summary: 'print a token by which another machine joins this mesh',
    details: 'The token is a secret. The node needs to be an admin: the one that made the mesh is.',
    options: [
      {
        flags: '--role <role>',
        summary: 'client asks, serve also runs models, admin also invites',
        defaultText: 'serve',
      },
      { flags: '--ttl <duration>', summary: 'how long it can be used: 30m, 24h, 7d', defaultText: '24h' },
      { flags: '--uses <number>', summary: 'how many machines can join by it', defaultText: '1' },
      { flags: '--strict', summary: 'only the inviting node lets machines in by it' },
      { flags: '--qr', summary: 'show it as a QR code too' },
    ],
    examples: ['meshnode invite', 'meshnode invite --role client --uses 20 --ttl 7d'],
    load: async () => (await import('./invite.ts')).invite,
  },
  {
    name: 'revoke',
    summary: 'put a peer out of the mesh for good, with its invite; or an invite alone',
    arguments: [
      {
        name: '<peer-or-invite>',
        summary: 'name, id, or 6 letters of an id; a token, or the id of an invite',
      },
    ],
    load: async () => (await import('./revoke.ts')).revoke,
  },
  {
    name: 'leave',
    summary: 'leave the mesh for good',
    details: 'The data folder forgets the mesh; the node stays the peer it is and can join another one.',
    options: [
      { flags: '--yes', summary: 'even if this node holds the key of the mesh, which is then deleted' },
    ],
    load: async () => (await import('./leave.ts')).leave,
  },
  {
    name: 'mesh',
    summary: 'the key of the mesh',
    subcommands: [
      {
        name: 'export-key',
        summary: 'write the mesh key to a file, encrypted with a passphrase',
        details:
          'The passphrase is asked for, or taken from MESHNODE_PASSPHRASE. The file has the age format.',
        arguments: [{ name: '<file>', summary: 'a file that is not there yet' }],
        options: [passphraseFile],
        load: async () => (await import('./mesh-key.ts')).exportKey,
      },
      {
        name: 'import-key',
        summary: 'take a mesh key into the data folder: its node is an admin of the mesh then',
        details: 'The node must not run. The folder belongs to that mesh, or to none.',
        arguments: [{ name: '<file>', summary: 'what export-key wrote' }],
        options: [passphraseFile],
        load: async () => (await import('./mesh-key.ts')).importKey,
      },
    ],
  },
  {
    name: 'peers',
    summary: 'the other members of the mesh',
    details:
      'RTT is the median round trip of the last minute; LOAD is requests, waiting ones included, over what can be answered at once.',
    options: [
      {
        flags: '--wide',
        summary: 'everything in full, with the 95th percentile of round trips and addresses',
      },
    ],
    load: async () => (await import('./peers.ts')).peers,
  },
  {
    name: 'ping',
    summary: 'measure round trip and throughput to a peer',
    arguments: [{ name: '<peer>', summary: 'name, id, or 6 letters of an id' }],
    options: [{ flags: '--count <number>', summary: 'round trips on each path', defaultText: '10' }],
    load: async () => (await import('./ping.ts')).ping,
  },
  {
    name: 'models',
    summary: 'models on this machine and in its mesh, and a few that it could run',
    load: async () => (await import('./models.ts')).listModels,
    subcommands: [
      {
        name: 'pull',
        summary: 'download a model; goes on where an earlier try stopped',
        arguments: [
          { name: '<ref>', summary: 'hf:org/repo:QUANT, or a catalogue name', completes: 'models' },
        ],
        examples: ['meshnode models pull hf:Qwen/Qwen3-0.6B-GGUF:Q8_0'],
        load: async () => (await import('./models.ts')).pullModel,
      },
      {
        name: 'rm',
        summary: 'delete a downloaded model',
        arguments: [{ name: '<ref>', summary: 'a model that `meshnode models` lists', completes: 'models' }],
        load: async () => (await import('./models.ts')).removeModel,
      },
    ],
  },
  {
    name: 'keys',
    summary: 'API keys, and what each may use',
    details:
      'As soon as there is a key, every client of the API needs one. A running node notices changes by itself.',
    load: async () => (await import('./keys.ts')).listApiKeys,
    subcommands: [
      {
        name: 'create',
        summary: 'make a key and print it, this once',
        arguments: [{ name: '<name>', summary: 'whose it is, for you and the log' }],
        options: [
          { flags: '--rate <number>', summary: 'requests a minute' },
          { flags: '--tokens-per-minute <number>', summary: 'tokens a minute, of prompts and answers' },
          { flags: '--tokens-per-day <number>', summary: 'tokens in 24 hours, of prompts and answers' },
        ],
        examples: [
          'meshnode keys create laptop',
          'meshnode keys create guests --rate 10 --tokens-per-day 100000',
        ],
        load: async () => (await import('./keys.ts')).createApiKey,
      },
      {
        name: 'list',
        summary: 'the names and limits of the keys; never the keys',
        load: async () => (await import('./keys.ts')).listApiKeys,
      },
      {
        name: 'revoke',
        summary: 'take a key away; it stops working within a second',
        arguments: [{ name: '<name>', summary: 'a name that `meshnode keys list` shows' }],
        load: async () => (await import('./keys.ts')).revokeApiKey,
      },
    ],
  },
  {
    name: 'gpus',
    summary: 'devices and memory that models can use',
    options: [maxVram],
    load: async () => (await import('./gpus.ts')).gpus,
  },
  {
    name: 'plan',
    summary: 'where a model would run in this mesh, and why; moves and changes nothing',
    details:
      'Of a model on the hub only what it says of itself is read, not the model. Exits with 1 if nothing can hold it.',
    arguments: [
      {
        name: '<model>',
        summary: 'a path, hf:org/repo:QUANT, or a name of the catalogue',
        completes: 'models',
      },
    ],
    options: [
      settingOption('ctx', 'tokens'),
      settingOption('parallel', 'number'),
      { flags: '--split', summary: 'cut it over several nodes even if one holds it whole' },
      { flags: '--replicas <number>', summary: 'nodes that shall each hold it whole', defaultText: '1' },
      maxVram,
      settingOption('llamaServer', 'path'),
    ],
    examples: ['meshnode plan hf:Qwen/Qwen2.5-32B-Instruct-GGUF:Q4_K_M', 'meshnode plan demo --split --json'],
    load: async () => (await import('./plan.ts')).plan,
  },
  {
    name: 'engine',
    summary: 'the native engine: what is there, what is missing, and building it',
    details: 'Without a word after it, it shows the status.',
    options: engineOptions,
    load: async () => (await import('./engine.ts')).engineStatus,
    subcommands: [
      {
        name: 'status',
        summary: 'programs, RPC build, devices, what a GPU or a build would need',
        options: engineOptions,
        load: async () => (await import('./engine.ts')).engineStatus,
      },
      {
        name: 'build',
        summary: 'make llama-server and the RPC server from the source that node-llama-cpp carries',
        details:
          'Needs git, cmake and a C++ compiler, no toolkit of a GPU maker: the libraries that drive GPUs come with node-llama-cpp. What is made lies in the cache folder of the user, for all nodes of this machine.',
        options: [
          { flags: '--again', summary: 'build although it is there already' },
          { flags: '--if-possible', summary: 'say what is missing for a build, and do not fail for it' },
        ],
        examples: ['meshnode engine build', 'meshnode engine build --json'],
        load: async () => (await import('./engine.ts')).buildEngine,
      },
    ],
  },
  {
    name: 'doctor',
    summary:
      'check this machine: Node.js, ports, folders, keys, memory, disk, engine, attached servers; and the mesh of the running node',
    details:
      'In the mesh it looks at peers, links, clocks, versions, certificates, distances, and models that are not the same everywhere. Takes the options of serve, to check what a node would find. Exits with 1 if a check fails; warnings do not count.',
    options: serveOptions,
    examples: ['meshnode doctor', 'meshnode doctor --attach http://127.0.0.1:11434'],
    load: async () => (await import('./doctor.ts')).doctor,
  },
  {
    name: 'config',
    summary: 'show and change the configuration',
    load: async () => (await import('./config.ts')).showConfig,
    subcommands: [
      {
        name: 'get',
        summary: 'print the value of a key',
        arguments: [{ name: '<key>', summary: 'a configuration key' }],
        load: async () => (await import('./config.ts')).getConfig,
      },
      {
        name: 'set',
        summary: 'write a key into the configuration file',
        arguments: [
          { name: '<key>', summary: 'a configuration key' },
          { name: '<value>', summary: 'its value; lists are comma-separated' },
        ],
        examples: ['meshnode config set model demo', 'meshnode config set port 8080'],
        load: async () => (await import('./config.ts')).setConfig,
      },
      {
        name: 'explain',
        summary: 'where the value of a key comes from, and what it overrides',
        arguments: [{ name: '<key>', summary: 'a configuration key' }],
        load: async () => (await import('./config.ts')).explainConfig,
      },
      {
        name: 'path',
        summary: 'print the path of the configuration file',
        load: async () => (await import('./config.ts')).configPath,
      },
    ],
  },
  {
    name: 'completion',
    summary: 'print the completion script of a shell',
    arguments: [{ name: '<shell>', summary: 'bash, zsh or fish', completes: ['bash', 'zsh', 'fish'] }],
    examples: ['meshnode completion bash > ~/.local/share/bash-completion/completions/meshnode'],
    load: async () => (await import('./completion.ts')).completion,
  },
  {
    name: 'version',
    summary: 'print the version',
    load: async () => (await import('./version.ts')).version,
  },
];
