// The folder of builds in the user's cache: one folder a build, complete as soon as it has its name, with a manifest
// that says what it is. Whoever changes it holds its lock. Builds nothing itself.
import { createHash } from 'node:crypto';
import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { type Clock, sleep } from '../../util/clock.ts';
import { type FolderLock, tryLock } from '../../util/folder-lock.ts';
import { nativeLimits } from '../../util/limits/native.ts';
import { makeFolder } from '../../util/make-folder.ts';

const manifestName = 'build.json';

const manifestShape = z.object({
  /** Version of this format. */
  format: z.literal(1),
  /** Version of node-llama-cpp, and of llama.cpp in it. */
  package: z.string().max(64),
  source: z.string().max(64),
  platform: z.string().max(64),
  compiler: z.string().max(256),
  /** As `buildText` writes it. */
  build: z.string().max(160),
  /** The libraries were built too: nothing of the package is needed. */
  isFull: z.boolean(),
  /** How long it took. */
  seconds: z.number().nonnegative(),
});

export type BuildManifest = z.infer<typeof manifestShape>;

export interface FinishedBuild {
  readonly folder: string;
  /** Where the programs and modules lie that were built. */
  readonly programs: string;
  readonly manifest: BuildManifest;
}

/** What a build depends on: the same key, the same build. */
export interface BuildKey {
  readonly package: string;
  readonly platform: string;
  readonly compiler: string;
  readonly isFull: boolean;
}

export class BuildFolder {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /** A name that tells a person what it is; the compiler's is too long for it. */
  nameOf({ package: version, platform, compiler, isFull }: BuildKey): string {
    const digest = createHash('sha256').update(compiler).digest('hex').slice(0, 8);
    return `${version}-${platform}${isFull ? '-full' : ''}-${digest}`;
  }

  /** Where a build is made before it has its name. What an earlier one left there is removed. */
  async emptyWorkFolder(name: string): Promise<string> {
    await this.removeUnfinished(name);
    await makeFolder(this.#unfinished(name));
    return this.#unfinished(name);
  }

  async removeUnfinished(name: string): Promise<void> {
    await rm(this.#unfinished(name), { recursive: true, force: true });
  }

  /** Gives a complete build its name, in the place of what had it. */
  async finish(name: string, programs: string, manifest: BuildManifest): Promise<FinishedBuild> {
    const staged = join(this.#unfinished(name), 'finished');
    await makeFolder(staged);
    await rename(programs, join(staged, 'bin'));
    await writeFile(join(staged, manifestName), `${JSON.stringify(manifest, undefined, 2)}\n`, {
      flush: true,
    });
    const folder = join(this.path, name);
    // Aside first: what cannot be put in its place has not cost the old one.
    const former = join(this.#unfinished(name), 'former');
    await rename(folder, former).catch(() => {}); // There was none.
    await rename(staged, folder);
    await this.removeUnfinished(name);
    return { folder, programs: join(folder, 'bin'), manifest };
  }

  #unfinished(name: string): string {
    return join(this.path, `${name}.unfinished`);
  }

  /** A complete build by its name. */
  async read(name: string): Promise<FinishedBuild | undefined> {
    const folder = join(this.path, name);
    try {
      const text = await readFile(join(folder, manifestName), 'utf8');
      const manifest = manifestShape.parse(JSON.parse(text.slice(0, nativeLimits.manifestBytes)));
      return { folder, programs: join(folder, 'bin'), manifest };
    } catch {
      return undefined; // Half a build, or none.
    }
  }

  /** Complete builds of one package and platform, those against its libraries first. */
  async list(version: string, platform: string): Promise<FinishedBuild[]> {
    const names = await readdir(this.path).catch(() => []);
    const wanted = names
      .filter((name) => name.startsWith(`${version}-${platform}-`))
      .slice(0, nativeLimits.builds);
    const builds = await Promise.all(wanted.map((name) => this.read(name)));
    return builds
      .filter((build) => build !== undefined)
      .sort((one, other) => Number(one.manifest.isFull) - Number(other.manifest.isFull));
  }

  /**
   * Waits until nobody else builds under `name`, and keeps others from it. `onWait` is called if there is somebody.
   * The kernel releases the lock however its holder ends.
   */
  async lock(
    name: string,
    { clock, signal, onWait }: { clock: Clock; signal: AbortSignal; onWait: () => void },
  ): Promise<FolderLock> {
    await makeFolder(this.path);
    const path = join(this.path, `${name}.lock`);
    let lock = await tryLock(path);
    if (lock === undefined) {
      onWait();
    }
    while (lock === undefined) {
      await sleep(clock, nativeLimits.lockPollMs, signal);
      lock = await tryLock(path);
    }
    return lock;
  }
}
