// The token that a node is to join with, from the setting or from the file that the setting names.
import { readFile, stat } from 'node:fs/promises';
import { MeshnodeError, systemErrorCode } from '../util/errors.ts';
import { nodeLimits } from '../util/limits/node.ts';
import type { NodeConfig } from './config-schema.ts';

/** Undefined if the node is to join nothing. Rejects with `usage`, or `token_invalid` if the file holds none. */
export async function readToken({
  join,
  joinFile,
}: Pick<NodeConfig, 'join' | 'joinFile'>): Promise<string | undefined> {
  if (join !== undefined && joinFile !== undefined) {
    throw new MeshnodeError('usage', 'A token and a file with a token were given.', {
      hint: 'Use --join TOKEN or --join-file FILE; `meshnode config` shows where each comes from.',
    });
  }
  return joinFile === undefined ? join : (await readSecretFile(joinFile, 'token_invalid')).trim();
}

/** The text of a small file. Rejects with `code` if it cannot be read. */
export async function readSecretFile(path: string, code: 'token_invalid' | 'usage'): Promise<string> {
  try {
    const found = await stat(path);
    if (found.isFile() && found.size > nodeLimits.secretFileBytes) {
      throw new MeshnodeError(code, `${path} is too large for what it should hold.`);
    }
    return await readFile(path, 'utf8');
  } catch (cause) {
    if (cause instanceof MeshnodeError) {
      throw cause;
    }
    throw new MeshnodeError(code, `${path} cannot be read (${systemErrorCode(cause)}).`, {
      hint: 'Check the path of the file and who may read it.',
      cause,
    });
  }
}
