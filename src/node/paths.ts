// Where a node keeps what it has: the folders of the platform (XDG on Linux), or all of it below one
// folder if that is wanted. Only names; nothing is created here.
import { join, resolve } from 'node:path';
import envPaths from 'env-paths';

export interface NodePaths {
  readonly configFile: string;
  /** Identity, lock, keys, digests: what belongs to one node. */
  readonly dataDir: string;
}

/** Where the native engine is built: one folder for all nodes of a user, whatever their data folders. */
export function engineCacheFolder(): string {
  return join(envPaths('meshnode', { suffix: '' }).cache, 'engine');
}

/** The paths of a node; `home` moves everything below it. */
export function nodePaths(home?: string): NodePaths {
  if (home !== undefined) {
    const dataDir = resolve(home);
    return { configFile: join(dataDir, 'config.toml'), dataDir };
  }
  const platform = envPaths('meshnode', { suffix: '' });
  return { configFile: join(platform.config, 'config.toml'), dataDir: platform.data };
}
