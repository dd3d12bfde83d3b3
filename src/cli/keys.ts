// `meshnode keys` and its subcommands: the API keys in the data folder, with or without a running node.
import { loadConfig } from '../node/config.ts';
import { createKey, type KeyRecord, keyFilePath, listKeys, revokeKey } from '../node/key-file.ts';
import { MeshnodeError } from '../util/errors.ts';
import { nodeLimits } from '../util/limits/node.ts';
import { type CommandContext, requiredArgument } from './command-context.ts';

/** `meshnode keys` and `meshnode keys list` */
export async function listApiKeys(context: CommandContext): Promise<number> {
  const { output } = context;
  const keys = await listKeys(await dataDirOf(context));
  if (output.json) {
    for (const key of keys ?? []) {
      output.value(shownKey(key));
    }
    return 0;
  }
  if (keys === undefined) {
    output.say('There is no key. Make one: meshnode keys create NAME');
    return 0;
  }
  output.table(
    ['NAME', 'CREATED', 'REQUESTS/MIN', 'TOKENS/MIN', 'TOKENS/DAY'],
    keys.map(({ name, createdAt, requestsPerMinute, tokensPerMinute, tokensPerDay }) => [
      name,
      createdAt,
      ...[requestsPerMinute, tokensPerMinute, tokensPerDay].map((limit) => String(limit ?? '-')),
    ]),
  );
  return 0;
}

/** `meshnode keys create NAME` */
export async function createApiKey(context: CommandContext): Promise<number> {
  const { output } = context;
  const dataDir = await dataDirOf(context);
  const { key, record } = await createKey(dataDir, requiredArgument(context, 0), limitsOf(context), context);
  if (output.json) {
    output.value({ ...shownKey(record), key });
  } else {
    output.line(key);
    output.say('Keep it: it is not shown again. From now on every client of this node needs a key.');
  }
  return 0;
}

/** `meshnode keys revoke NAME` */
export async function revokeApiKey(context: CommandContext): Promise<number> {
  const { output } = context;
  const dataDir = await dataDirOf(context);
  const name = requiredArgument(context, 0);
  const left = await revokeKey(dataDir, name, context);
  if (output.json) {
    output.value({ name, left });
    return 0;
  }
  output.say(`The key '${name}' is revoked.`);
  if (left === 0) {
    output.say(
      `None is left, and without one nobody can call. To need none on this machine again, delete ${keyFilePath(dataDir)}`,
    );
  }
  return 0;
}

async function dataDirOf({ options, environment }: CommandContext): Promise<string> {
  return (await loadConfig(options.flags(), environment)).paths.dataDir;
}

function limitsOf(context: CommandContext) {
  const requestsPerMinute = limitOption(context, 'rate');
  const tokensPerMinute = limitOption(context, 'tokens-per-minute');
  const tokensPerDay = limitOption(context, 'tokens-per-day');
  return {
    ...(requestsPerMinute === undefined ? {} : { requestsPerMinute }),
    ...(tokensPerMinute === undefined ? {} : { tokensPerMinute }),
    ...(tokensPerDay === undefined ? {} : { tokensPerDay }),
  };
}

function limitOption({ options }: CommandContext, name: string): number | undefined {
  const value = options.number(name);
  if (value !== undefined && !(Number.isInteger(value) && value >= 1 && value <= nodeLimits.keyLimit)) {
    throw new MeshnodeError('usage', `--${name} takes a whole number from 1 to ${nodeLimits.keyLimit}.`);
  }
  return value;
}

/** What may be told of a key. The hash of a key is of no use to anybody but the node. */
function shownKey({ name, createdAt, requestsPerMinute, tokensPerMinute, tokensPerDay }: KeyRecord): object {
  return { name, createdAt, requestsPerMinute, tokensPerMinute, tokensPerDay };
}
