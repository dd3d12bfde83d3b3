// Puts programs and the libraries they load into one folder, where both the linker and ggml look for them. Links, so
// that a gigabyte of CUDA is there once; what points elsewhere (another checkout, a newer package) is pointed anew.
import { copyFile, link, readdir, readlink, rename, rm, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { makeFolder } from '../../util/make-folder.ts';
import type { GpuModule, RuntimePackage } from './runtime-package.ts';

export interface Arrangement {
  /** Folder of what was built. */
  readonly programs: string;
  /** Folder to fill; it is made. */
  readonly target: string;
  readonly source: Pick<RuntimePackage, 'librariesFolder'>;
  /** The GPU's module, if one is to be loaded: two would offer the same GPU twice. */
  readonly module: GpuModule | undefined;
}

/** Fills the folder and returns it. Rejects with the system's error. */
export async function arrangePrograms({ programs, target, source, module }: Arrangement): Promise<string> {
  await makeFolder(target);
  const wanted = new Map<string, string>();
  if (source.librariesFolder !== undefined) {
    for (const name of await readdir(source.librariesFolder)) {
      if (/^lib.+\.(so|dylib)(\.[\d.]+)?$/.test(name)) {
        wanted.set(name, join(source.librariesFolder, name));
      }
    }
  }
  if (module !== undefined) {
    wanted.set(module.path.slice(module.path.lastIndexOf('/') + 1), module.path);
  }
  for (const [name, path] of wanted) {
    await pointAt(join(target, name), path);
  }
  const built = await readdir(programs);
  for (const name of built) {
    await place(join(programs, name), join(target, name));
  }
  const known = new Set([...wanted.keys(), ...built]);
  for (const name of await readdir(target)) {
    // What another process is just putting there has a name that ends like this.
    if (!known.has(name) && !name.endsWith(fresh)) {
      await rm(join(target, name), { recursive: true, force: true });
    }
  }
  return target;
}

const fresh = '.new';
/** Makes names that nothing else in this process has. */
let replaced = 0;

async function pointAt(path: string, destination: string): Promise<void> {
  const current = await readlink(path).catch(() => undefined);
  if (current !== destination) {
    await replace(path, (temporary) => symlink(destination, temporary));
  }
}

/** A hard link, for a program's own path is where it looks for its libraries; a copy where links are not possible. */
async function place(from: string, to: string): Promise<void> {
  const [source, current] = await Promise.all([stat(from), stat(to).catch(() => undefined)]);
  if (current?.ino !== source.ino || current.size !== source.size) {
    await replace(to, (temporary) => link(from, temporary).catch(() => copyFile(from, temporary)));
  }
}

/** In one step: a program that starts now finds the old one or the new one, whoever else does the same. */
async function replace(path: string, make: (temporary: string) => Promise<void>): Promise<void> {
  const temporary = `${path}.${process.pid}-${++replaced}${fresh}`;
  try {
    await make(temporary);
    await rename(temporary, path);
  } finally {
    await rm(temporary, { force: true });
  }
}
