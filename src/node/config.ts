// The configuration of a node from its sources: a flag wins over the environment, that over the file,
// that over the default. Every value remembers where it came from, and what the losers said.
import { readFile } from 'node:fs/promises';
import { closest, distance } from 'fastest-levenshtein';
import { parse, TomlError } from 'smol-toml';
import type { z } from 'zod';
import { MeshnodeError, systemErrorCode } from '../util/errors.ts';
import {
  envNameOf,
  fileKeyOf,
  findSettingKey,
  flagOf,
  type NodeConfig,
  type SettingKey,
  settingKeys,
  settingOf,
} from './config-schema.ts';
import { type NodePaths, nodePaths } from './paths.ts';

/** Values of flags as the command line has them; a flag that was not given is absent. */
export type Flags = { readonly [Key in SettingKey]?: string | readonly string[] | boolean | undefined };

export type Environment = Readonly<Record<string, string | undefined>>;

export type SourceName = 'flag' | 'environment' | 'file' | 'default';

/** What one source says of a setting. */
export interface Claim {
  readonly source: SourceName;
  /** The flag, the variable, or `file:line`; empty for the default. */
  readonly where: string;
  readonly value: unknown;
}

export interface LoadedConfig {
  readonly config: NodeConfig;
  readonly paths: NodePaths;
  /** For each setting what its sources say, the winner first. Never empty. */
  readonly claims: ReadonlyMap<SettingKey, readonly Claim[]>;
  /** Sentences on what was ignored. */
  readonly warnings: readonly string[];
}

/** A configuration file with its text. */
export interface ConfigFile {
  readonly path: string;
  readonly text: string;
}

/** Reads the configuration. Rejects with `config_invalid` (file and line in the message) or `usage` for a flag. */
export async function loadConfig(flags: Flags, environment: Environment): Promise<LoadedConfig> {
  const home = resolveConfig(flags, environment, undefined).config.dataDir;
  const paths = nodePaths(home);
  const text = await readConfigFile(paths.configFile);
  const file = text === undefined ? undefined : { path: paths.configFile, text };
  return { ...resolveConfig(flags, environment, file), paths };
}

/** The text of the file, or undefined if there is none. */
export async function readConfigFile(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    const code = systemErrorCode(cause);
    // ENOTDIR: a file lies where its folder should be, which is for the data folder to say.
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      return undefined;
    }
    throw new MeshnodeError('config_invalid', `${path} cannot be read (${code}).`, {
      hint: 'Make the file readable, or remove it.',
      cause,
    });
  }
}

/** The configuration that the sources make together. Pure. */
export function resolveConfig(
  flags: Flags,
  environment: Environment,
  file: ConfigFile | undefined,
): Omit<LoadedConfig, 'paths'> {
  const fromFile = file === undefined ? noFile : readClaims(file);
  const claims = new Map(
    settingKeys.map((key) => [
      key,
      [
        ...flagClaims(key, flags[key]),
        ...environmentClaims(key, environment[envNameOf(key)]),
        ...(fromFile.claims.get(key) ?? []),
        { source: 'default', where: '', value: settingOf(key).fallback } as const,
      ],
    ]),
  );
  const winners = settingKeys.map((key) => [key, claims.get(key)?.[0]?.value]);
  return { config: Object.fromEntries(winners) as NodeConfig, claims, warnings: fromFile.warnings };
}

function flagClaims(key: SettingKey, given: Flags[SettingKey]): Claim[] {
  if (given === undefined) {
    return [];
  }
  const raw = typeof given === 'string' ? settingOf(key).fromText(given) : given;
  const where = flagOf(key);
  return [{ source: 'flag', where, value: checked(key, raw, 'usage', where) }];
}

function environmentClaims(key: SettingKey, given: string | undefined): Claim[] {
  if (given === undefined || given === '') {
    return [];
  }
  const where = envNameOf(key);
  const raw = settingOf(key).fromText(given);
  return [{ source: 'environment', where, value: checked(key, raw, 'config_invalid', where) }];
}

interface FileClaims {
  readonly claims: ReadonlyMap<SettingKey, readonly Claim[]>;
  readonly warnings: readonly string[];
}

const noFile: FileClaims = { claims: new Map(), warnings: [] };

function readClaims({ path, text }: ConfigFile): FileClaims {
  const claims = new Map<SettingKey, Claim[]>();
  const warnings: string[] = [];
  for (const [written, raw] of Object.entries(parseToml(path, text))) {
    const where = `${path}:${lineOfKey(text, written)}`;
    const key = settingKeys.find((candidate) => fileKeyOf(candidate) === written);
    if (key === undefined) {
      warnings.push(`${where}: there is no setting '${written}'; it is ignored.${suggestion(written)}`);
    } else if (settingOf(key).notInFile) {
      warnings.push(
        `${where}: '${written}' cannot be set in the file; use ${flagOf(key)} or ${envNameOf(key)}.`,
      );
    } else {
      claims.set(key, [{ source: 'file', where, value: checked(key, raw, 'config_invalid', where) }]);
    }
  }
  return { claims, warnings };
}

function parseToml(path: string, text: string): Record<string, unknown> {
  try {
    return parse(text);
  } catch (cause) {
    if (!(cause instanceof TomlError)) {
      throw cause;
    }
    const [what] = cause.message.split('\n');
    throw new MeshnodeError('config_invalid', `${path}:${cause.line}: ${what}.`, {
      data: { path, line: cause.line },
      cause,
    });
  }
}

/** The value if the setting may have it; else an error that says where it was written. */
function checked(key: SettingKey, raw: unknown, code: 'usage' | 'config_invalid', where: string): unknown {
  const result = settingOf(key).schema.safeParse(raw);
  if (result.success) {
    return result.data;
  }
  const problem = firstIssue(result.error);
  const named = code === 'config_invalid' && where.includes(':') ? `${where}: ${fileKeyOf(key)}` : where;
  throw new MeshnodeError(code, `${named}: ${problem}.`, { param: fileKeyOf(key) });
}

function firstIssue(error: z.ZodError): string {
  const [issue] = error.issues;
  if (issue === undefined) {
    return 'is invalid';
  }
  const place = issue.path.map((step) => `[${String(step)}]`).join('');
  return place === '' ? issue.message : `${place} ${issue.message}`;
}

/** `key = ...`, `"key".sub = ...` or `[key]`; a quote must close before what follows. */
const keyAtStart = /^\s*(\[{0,2})\s*(["']?)([\w-]+)\2\s*([=.\]])/;

/** Line, from 1, on which a top-level key or table is named. */
export function lineOfKey(text: string, key: string): number {
  const index = text.split('\n').findIndex((line) => {
    const [, bracket, , name, next] = keyAtStart.exec(line) ?? [];
    return name === key && (next === '.' || (bracket === '') === (next === '='));
  });
  return Math.max(0, index) + 1;
}

function suggestion(written: string): string {
  const near = findSettingKey(written);
  const name = near === undefined ? closest(written, settingKeys.map(fileKeyOf)) : fileKeyOf(near);
  return distance(written, name) <= 3 ? ` Did you mean '${name}'?` : '';
}
