// The folder layout that Hugging Face's tools share: models--org--repo/{blobs,refs,snapshots}. It owns
// names and links; it downloads nothing.
import { readdir, readFile, realpath, rename, stat, symlink, writeFile } from 'node:fs/promises';
import { basename, dirname, join, relative, sep } from 'node:path';
import { REPO_ID_SEPARATOR } from '@huggingface/hub';
import { systemErrorCode } from '../util/errors.ts';
import { downloadLimits } from '../util/limits/models.ts';
import { makeFolder } from '../util/make-folder.ts';
import { isRepositoryName } from './reference.ts';
import type { RepositoryFile } from './repository-models.ts';

/** A file of a snapshot on this machine. */
export interface CachedFile extends RepositoryFile {
  /** Where the snapshot shows it. */
  readonly localPath: string;
  /** Where its bytes lie: a blob, or the same as `localPath` where links do not work. */
  readonly blobPath: string;
  /** The hub's hash of it, if the blob's name tells. */
  readonly sha256?: string;
}

const folderPrefix = `models${REPO_ID_SEPARATOR}`;
const commitShape = /^[0-9a-f]{40}$/;
const sha256Shape = /^[0-9a-f]{64}$/;

/** Whether a revision is a commit already. */
export function isCommit(revision: string): boolean {
  return commitShape.test(revision);
}

/** The cache below one folder. */
export class HubCache {
  readonly folder: string;
  readonly #link: (target: string, path: string) => Promise<void>;

  /** `link` makes symbolic links; a test hands in one that refuses, as Windows does. */
  constructor(folder: string, link: (target: string, path: string) => Promise<void> = symlink) {
    this.folder = folder;
    this.#link = link;
  }

  repositoryFolder(repository: string): string {
    return join(this.folder, folderPrefix + repository.replace('/', REPO_ID_SEPARATOR));
  }

  blobFolder(repository: string): string {
    return join(this.repositoryFolder(repository), 'blobs');
  }

  snapshotFolder(repository: string, commit: string): string {
    return join(this.repositoryFolder(repository), 'snapshots', commit);
  }

  refPath(repository: string, revision: string): string {
    return join(this.repositoryFolder(repository), 'refs', ...revision.split('/'));
  }

  /** Every model repository here, `org/repo`. Folders that other tools named otherwise are passed over. */
  async repositories(): Promise<string[]> {
    const names = await readdirOrNone(this.folder);
    return names
      .filter((name) => name.startsWith(folderPrefix))
      .map((name) => name.slice(folderPrefix.length).replace(REPO_ID_SEPARATOR, '/'))
      .filter(isRepositoryName);
  }

  /** Commits that a snapshot exists of. */
  async commits(repository: string): Promise<string[]> {
    return (await readdirOrNone(join(this.repositoryFolder(repository), 'snapshots'))).filter(isCommit);
  }

  /** The commit a branch or tag pointed to when it was last asked for. */
  async commitOf(repository: string, revision: string): Promise<string | undefined> {
    if (isCommit(revision)) {
      return revision;
    }
    const text = await readFile(this.refPath(repository, revision), 'utf8').catch(() => '');
    return isCommit(text.trim()) ? text.trim() : undefined;
  }

  async writeRef(repository: string, revision: string, commit: string): Promise<void> {
    if (!isCommit(revision)) {
      const path = this.refPath(repository, revision);
      await makeFolder(dirname(path));
      await writeFile(path, commit);
    }
  }

  /** The GGUF files of a snapshot whose bytes are here. A file appears in one only once it is whole. */
  async snapshotFiles(repository: string, commit: string): Promise<CachedFile[]> {
    const folder = this.snapshotFolder(repository, commit);
    const names = await readdir(folder, { recursive: true }).catch(() => []);
    const ggufs = names.filter((name) => /\.gguf$/i.test(name)).slice(0, downloadLimits.repositoryFiles);
    const files = await Promise.all(ggufs.map((name) => cachedFile(folder, name)));
    return files.filter((file) => file !== undefined);
  }

  /** Shows a whole blob in a snapshot. Where links are refused the blob itself moves there, as Hugging Face's tools do. */
  async place(repository: string, commit: string, path: string, blobPath: string): Promise<void> {
    const localPath = join(this.snapshotFolder(repository, commit), ...path.split('/'));
    await makeFolder(dirname(localPath));
    try {
      await this.#link(relative(dirname(localPath), blobPath), localPath);
    } catch (thrown) {
      const code = systemErrorCode(thrown);
      if (code === 'EEXIST' && (await fileExists(localPath))) {
        return;
      }
      await rename(blobPath, localPath);
    }
  }
}

/** Whether a path leads to something, links followed. */
export async function fileExists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

async function cachedFile(folder: string, name: string): Promise<CachedFile | undefined> {
  const localPath = join(folder, name);
  try {
    const [blobPath, stats] = await Promise.all([realpath(localPath), stat(localPath)]);
    if (!stats.isFile()) {
      return undefined;
    }
    const blobName = basename(blobPath);
    return {
      path: name.split(sep).join('/'),
      sizeBytes: stats.size,
      localPath,
      blobPath,
      ...(sha256Shape.test(blobName) ? { sha256: blobName } : {}),
    };
  } catch {
    return undefined; // A link without its blob: somebody removed it. The file counts as missing.
  }
}

async function readdirOrNone(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => []);
}
