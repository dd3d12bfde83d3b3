// The version of this program: put in at build time, read from package.json when run unbuilt.
import { readFileSync } from 'node:fs';

/** esbuild replaces this name with a string; unbuilt it does not exist. */
declare const MESHNODE_VERSION: string | undefined;

export const version: string =
  typeof MESHNODE_VERSION === 'string'
    ? MESHNODE_VERSION
    : versionOf(new URL('../../package.json', import.meta.url));

function versionOf(packageFile: URL): string {
  const content: unknown = JSON.parse(readFileSync(packageFile, 'utf8'));
  const isPackage = typeof content === 'object' && content !== null && 'version' in content;
  return isPackage && typeof content.version === 'string' ? content.version : '0.0.0';
}
