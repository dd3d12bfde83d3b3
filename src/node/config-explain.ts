// Says of a setting what it is, which source won, and what the others said. Pure; hides secrets.

import { MeshnodeError } from '../util/errors.ts';
import type { Claim, LoadedConfig, SourceName } from './config.ts';
import { envNameOf, fileKeyOf, findSettingKey, flagOf, type SettingKey, settingOf } from './config-schema.ts';

export interface Explanation {
  /** As the file has it. */
  readonly key: string;
  readonly about: string;
  readonly value: unknown;
  readonly source: SourceName;
  /** The flag, the variable, or `file:line`. */
  readonly where: string;
  /** What the other sources say, in their order. */
  readonly overruled: readonly Claim[];
  /** Every way to set it. */
  readonly setBy: { readonly flag: string; readonly environment: string; readonly file?: string };
}

/** Throws `usage` if there is no such setting. */
export function explainSetting(loaded: Pick<LoadedConfig, 'claims'>, written: string): Explanation {
  const key = settingKeyOf(written);
  const { about, notInFile } = settingOf(key);
  const [winner, ...overruled] = (loaded.claims.get(key) ?? []).map((claim) => shown(key, claim));
  if (winner === undefined) {
    throw new MeshnodeError('internal', `The setting ${key} has no value.`);
  }
  return {
    key: fileKeyOf(key),
    about,
    ...winner,
    overruled,
    setBy: {
      flag: flagOf(key),
      environment: envNameOf(key),
      ...(notInFile ? {} : { file: fileKeyOf(key) }),
    },
  };
}

/** The setting a person means. Throws `usage` if there is none. */
export function settingKeyOf(written: string): SettingKey {
  const key = findSettingKey(written);
  if (key === undefined) {
    throw new MeshnodeError('usage', `There is no setting '${written}'.`, {
      hint: '`meshnode config get` lists them all.',
    });
  }
  return key;
}

function shown(key: SettingKey, claim: Claim): Claim {
  const { value } = claim;
  const isEmpty = value === undefined || (Array.isArray(value) && value.length === 0);
  const isHidden = settingOf(key).secret === true && !isEmpty;
  return isHidden ? { ...claim, value: '[hidden]' } : claim;
}
