import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { findRuntimePackage } from '../../../../src/engine/native/runtime-package.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';

const root = await temporaryFolder();
let installations = 0;

/** Installs packages: their names, and the files in each. */
async function install(
  packages: Record<string, Record<string, string>>,
): Promise<(name: string) => string | undefined> {
  const base = join(root, String(++installations));
  for (const [name, files] of Object.entries(packages)) {
    for (const [path, content] of Object.entries(files)) {
      const file = join(base, name, path);
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, content);
    }
  }
  return (name) => (name in packages ? join(base, name) : undefined);
}

const main = {
  'package.json': '{"version":"3.22.1"}',
  'llama/llama.cpp.info.json': '{"tag":"v0.5.0"}',
  'llama/gitRelease.bundle': 'source',
  'llama/patches/b.diff': '',
  'llama/patches/a.diff': '',
  'llama/patches/README.md': '',
};
const linux = { os: 'linux', arch: 'x64' } as const;

describe('the package with the source', () => {
  it('is not there: that is an answer', async () => {
    expect(await findRuntimePackage(linux, () => undefined)).toBeUndefined();
  });

  it('has source, patches in order, libraries, and GPU modules wherever a package keeps them', async () => {
    const resolve = await install({
      'node-llama-cpp': main,
      '@node-llama-cpp/linux-x64': { 'bins/linux-x64/libllama.v0.5.0.so': '' },
      '@node-llama-cpp/linux-x64-cuda': { 'bins/linux-x64-cuda/libggml-cuda.so': '' },
      '@node-llama-cpp/linux-x64-cuda-ext': { 'bins/linux-x64-cuda/fallback/libggml-cuda.so': '' },
    });
    const found = await findRuntimePackage(linux, resolve);
    expect(found).toMatchObject({ version: '3.22.1', sourceRelease: 'v0.5.0' });
    expect(found?.patchPaths.map((path) => path.slice(-6))).toEqual(['a.diff', 'b.diff']);
    expect(found?.librariesFolder).toMatch(/linux-x64\/bins\/linux-x64$/);
    expect(found?.gpuModules.map(({ runtime }) => runtime)).toEqual(['CUDA 13', 'CUDA 12']);
  });

  it('has no libraries where the package of the platform is missing', async () => {
    const resolve = await install({ 'node-llama-cpp': main });
    expect(await findRuntimePackage(linux, resolve)).toMatchObject({
      librariesFolder: undefined,
      gpuModules: [],
    });
  });

  it('keeps Metal among the libraries of a Mac', async () => {
    const resolve = await install({
      'node-llama-cpp': main,
      '@node-llama-cpp/mac-arm64-metal': { 'bins/mac-arm64-metal/libllama.dylib': '' },
    });
    const found = await findRuntimePackage({ os: 'darwin', arch: 'arm64' }, resolve);
    expect(found?.librariesFolder).toMatch(/mac-arm64-metal$/);
    expect(found?.gpuModules).toEqual([]);
  });

  it.each([
    ['no tag', { 'llama/llama.cpp.info.json': '{}' }],
    ['a tag that leads elsewhere', { 'llama/llama.cpp.info.json': '{"tag":"../../x"}' }],
    ['no JSON', { 'package.json': '{' }],
  ])('is none if it has %s', async (_, broken) => {
    const resolve = await install({ 'node-llama-cpp': { ...main, ...broken } });
    expect(await findRuntimePackage(linux, resolve)).toBeUndefined();
  });
});
