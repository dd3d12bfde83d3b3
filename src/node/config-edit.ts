// Changes one setting in the configuration file: the line that sets it is replaced, comments and order of
// the rest stay. What would not be a valid configuration is never written.
import { dirname } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { parse, stringify, type TomlValue } from 'smol-toml';
import { assertInvariant, MeshnodeError, systemErrorCode } from '../util/errors.ts';
import { makeFolder } from '../util/make-folder.ts';
import { replaceFile } from '../util/replace-file.ts';
import { lineOfKey, readConfigFile, resolveConfig } from './config.ts';
import { settingKeyOf } from './config-explain.ts';
import { fileKeyOf, flagOf, type SettingKey, settingOf } from './config-schema.ts';

/**
 * Sets a setting in the file, which is made if need be. `text` is written as in a flag; lists are separated
 * by commas. Rejects with `usage` or `config_invalid`; the file is then as before.
 */
export async function setInConfigFile(path: string, written: string, text: string): Promise<void> {
  const key = settingKeyOf(written);
  if (settingOf(key).notInFile) {
    throw new MeshnodeError('usage', `'${fileKeyOf(key)}' cannot be set in the file; use ${flagOf(key)}.`);
  }
  const before = (await readConfigFile(path)) ?? '';
  // The file must be sound before, or the edit could land in the middle of something else.
  resolveConfig({}, {}, { path, text: before });
  const after = editedToml(before, key, settingOf(key).fromText(text) as TomlValue);
  resolveConfig({}, {}, { path, text: after });
  await writeConfig(path, after);
}

/** The TOML text with one top-level key set. Pure. */
export function editedToml(before: string, key: SettingKey, value: TomlValue): string {
  const name = fileKeyOf(key);
  const line = stringify({ [name]: value }).trimEnd();
  const lines = before === '' ? [] : before.replace(/\n$/, '').split('\n');
  const table = parse(before);
  if (Object.hasOwn(table, name)) {
    const start = lineOfKey(before, name) - 1;
    lines.splice(start, linesOfValue(lines, start), line);
  } else {
    const firstTable = lines.findIndex((text) => /^\s*\[/.test(text));
    lines.splice(firstTable === -1 ? lines.length : firstTable, 0, line);
  }
  const after = `${lines.join('\n')}\n`;
  assertInvariant(
    isDeepStrictEqual({ ...parse(after) }, { ...table, [name]: value }),
    'an edit changes one setting',
  );
  return after;
}

/** How many lines the assignment beginning at `start` takes: the fewest that are TOML by themselves. */
function linesOfValue(lines: readonly string[], start: number): number {
  for (let count = 1; start + count <= lines.length; count++) {
    try {
      parse(lines.slice(start, start + count).join('\n'));
      return count;
    } catch {
      // The value goes on in the next line.
    }
  }
  return 1;
}

async function writeConfig(path: string, text: string): Promise<void> {
  try {
    await makeFolder(dirname(path));
    await replaceFile(path, text);
  } catch (cause) {
    throw new MeshnodeError('config_invalid', `${path} cannot be written (${systemErrorCode(cause)}).`, {
      hint: 'Make the folder writable.',
      cause,
    });
  }
}
