// The file of API keys in the data folder: who may call the API, and how much. Holds hashes, never a key.
// Commands change it, running node or not; nodes only read it (node-keys.ts).
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import type { KeyLimits } from '../api/key-limits.ts';
import type { ApiKey } from '../api/key-ring.ts';
import { hashedKey } from '../http/guards.ts';
import { type Clock, sleep } from '../util/clock.ts';
import { MeshnodeError, systemErrorCode } from '../util/errors.ts';
import { type FolderLock, tryLock } from '../util/folder-lock.ts';
import { nodeLimits } from '../util/limits/node.ts';
import { makeFolder } from '../util/make-folder.ts';
import type { Random } from '../util/random.ts';
import { replaceFile } from '../util/replace-file.ts';
import { attempt } from './data-folder.ts';

/** A key as the file has it. */
export interface KeyRecord extends ApiKey {
  /** ISO 8601. */
  readonly createdAt: string;
}

/** What a key may be called: it stands in logs and tables. */
export const keyNamePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

const limit = z.int().min(1).max(nodeLimits.keyLimit).exactOptional();

// Strict: a field of a newer version may be a restriction, and to ignore one would grant too much.
const recordSchema = z.strictObject({
  name: z.string().regex(keyNamePattern),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  createdAt: z.iso.datetime(),
  requestsPerMinute: limit,
  tokensPerMinute: limit,
  tokensPerDay: limit,
}) satisfies z.ZodType<KeyRecord>;

const fileSchema = z.strictObject({
  keys: z
    .array(recordSchema)
    .max(nodeLimits.apiKeys)
    .refine((keys) => new Set(keys.map(({ name }) => name)).size === keys.length, 'two keys have one name'),
});

export interface KeyFileComponents {
  readonly clock: Clock;
  readonly random: Random;
  /** Ends the wait for another command. */
  readonly interrupted?: AbortSignal;
}

/** Where the keys of a node lie. */
export function keyFilePath(dataDir: string): string {
  return join(dataDir, 'api-keys.json');
}

/** The text of the file, undefined if there is none. Rejects with `config_invalid`. */
export async function readKeyFile(path: string): Promise<string | undefined> {
  try {
    await using file = await open(path, 'r');
    const buffer = Buffer.alloc(nodeLimits.keyFileBytes + 1);
    const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
    if (bytesRead > nodeLimits.keyFileBytes) {
      throw damaged(path, `it is larger than ${nodeLimits.keyFileBytes} bytes`);
    }
    return buffer.toString('utf8', 0, bytesRead);
  } catch (cause) {
    const code = systemErrorCode(cause);
    if (code === 'ENOENT') {
      return undefined;
    }
    if (code === undefined) {
      throw cause;
    }
    throw new MeshnodeError('config_invalid', `${path} cannot be read (${code}).`, {
      hint: 'Make the file readable for this user.',
      cause,
    });
  }
}

/** The keys that a text of the file names. Throws `config_invalid`. Pure. */
export function parseKeyFile(path: string, text: string): readonly KeyRecord[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw damaged(path, 'it is no JSON', cause);
  }
  const { success, data, error } = fileSchema.safeParse(value);
  if (!success) {
    const [issue] = error.issues;
    throw damaged(path, `${issue?.path.join('.')}: ${issue?.message}`, error);
  }
  return data.keys;
}

/** The keys of a data folder, undefined if there never was one. Rejects with `config_invalid`. */
export async function listKeys(dataDir: string): Promise<readonly KeyRecord[] | undefined> {
  const path = keyFilePath(dataDir);
  const text = await readKeyFile(path);
  return text === undefined ? undefined : parseKeyFile(path, text);
}

/**
 * Makes a key; it is told here and never again. Rejects with `usage` if the name is taken or no name, with
 * `config_invalid` if the file is damaged, with `data_dir_unwritable` or `disk_full`.
 */
export async function createKey(
  dataDir: string,
  name: string,
  limits: KeyLimits,
  components: KeyFileComponents,
): Promise<{ key: string; record: KeyRecord }> {
  if (!keyNamePattern.test(name)) {
    throw new MeshnodeError('usage', `'${name}' cannot be the name of a key.`, {
      hint: 'Use 1 to 64 letters, digits, dots, dashes and underscores, a letter or digit first.',
    });
  }
  const key = newKey(components.random);
  const createdAt = new Date(components.clock.wallMs()).toISOString();
  const record: KeyRecord = { ...hashedKey(name, key), createdAt, ...limits };
  await changeKeys(dataDir, components, (keys) => {
    if (keys.some((other) => other.name === name)) {
      throw new MeshnodeError('usage', `There is a key '${name}' already.`, {
        hint: `Choose another name, or revoke it first: meshnode keys revoke ${name}`,
      });
    }
    if (keys.length >= nodeLimits.apiKeys) {
      throw new MeshnodeError('usage', `There are ${keys.length} keys, which is the most.`, {
        hint: 'Revoke those that nobody needs: `meshnode keys list` shows them.',
      });
    }
    return [...keys, record];
  });
  return { key, record };
}

/** Takes a key away. Resolves to how many are left. Rejects as `createKey` does, with `usage` if there is none of that name. */
export async function revokeKey(
  dataDir: string,
  name: string,
  components: Omit<KeyFileComponents, 'random'>,
): Promise<number> {
  const left = await changeKeys(dataDir, components, (keys) => {
    const others = keys.filter((key) => key.name !== name);
    if (others.length === keys.length) {
      throw new MeshnodeError('usage', `There is no key '${name}'.`, {
        hint: 'See `meshnode keys list`.',
      });
    }
    return others;
  });
  return left.length;
}

/** 32 random bytes, in letters that fit a header, a URL and a double click. */
function newKey(random: Random): string {
  return `mn-${Buffer.from(random.bytes(32)).toString('base64url')}`;
}

/** Reads, changes and replaces the file, one command at a time: a key revoked meanwhile must not come back. */
async function changeKeys(
  dataDir: string,
  components: Omit<KeyFileComponents, 'random'>,
  change: (keys: readonly KeyRecord[]) => readonly KeyRecord[],
): Promise<readonly KeyRecord[]> {
  const path = keyFilePath(dataDir);
  return attempt(dataDir, async () => {
    await makeFolder(dataDir);
    const lock = await takeLock(`${path}.lock`, components);
    try {
      const keys = change((await listKeys(dataDir)) ?? []);
      await replaceFile(path, JSON.stringify({ keys }, undefined, 1));
      return keys;
    } finally {
      lock.release();
    }
  });
}

async function takeLock(
  path: string,
  { clock, interrupted }: Omit<KeyFileComponents, 'random'>,
): Promise<FolderLock> {
  const deadlineMs = clock.monotonicMs() + nodeLimits.keyFileLockMs;
  for (;;) {
    const lock = await tryLock(path);
    if (lock !== undefined) {
      return lock;
    }
    if (clock.monotonicMs() >= deadlineMs) {
      throw new MeshnodeError('data_dir_in_use', 'Another command is changing the keys.', {
        hint: 'Try again when it has ended.',
      });
    }
    await sleep(clock, nodeLimits.keyFileLockPollMs, interrupted);
  }
}

function damaged(path: string, why: string, cause?: unknown): MeshnodeError {
  return new MeshnodeError('config_invalid', `${path} is damaged: ${why}.`, {
    hint: 'Put back a copy of the file, or delete it and create the keys anew.',
    ...(cause === undefined ? {} : { cause }),
  });
}
