// What the native engine's programs and the system's linker print, read.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compiledFraction } from '../../../../src/engine/native/build-programs.ts';
import { parseDeviceList } from '../../../../src/engine/native/device-list.ts';
import { checkModule, missingLibraries } from '../../../../src/engine/native/gpu-runtime.ts';
import {
  buildText,
  parseProgramVersion,
  releaseOfTag,
} from '../../../../src/engine/native/program-version.ts';

const MiB = 1024 ** 2;

describe('the version of a program', () => {
  it('is release and commit, whatever is printed around it', () => {
    const build = parseProgramVersion(
      'load_backend: loaded CPU backend from /x\nversion: 0.5.0-dev (build 1, commit 0ad4a86)\nbuilt with GNU 11.4.0 for Linux x86_64\n',
    );
    expect(build && buildText(build)).toBe('0.5.0+0ad4a86');
  });

  it('is none where llama.cpp numbers its builds alone, as it did before', () => {
    expect(
      parseProgramVersion('version: 6123 (79c1160b)\nbuilt with cc for x86_64-linux-gnu\n'),
    ).toBeUndefined();
  });

  it('is compared with the tag of the source', () => {
    expect(releaseOfTag('v0.5.0')).toBe('0.5.0');
  });
});

describe('the list of devices', () => {
  it('has names, products and memory', () => {
    expect(
      parseDeviceList(
        'Available devices:\n  CUDA0: NVIDIA GeForce RTX 4090 (24080 MiB, 23500 MiB free)\n  CUDA1: NVIDIA RTX A2000 (12 GB) (11900 MiB, 100 MiB free)\n',
      ),
    ).toEqual([
      { name: 'CUDA0', product: 'NVIDIA GeForce RTX 4090', totalBytes: 24080 * MiB, freeBytes: 23500 * MiB },
      { name: 'CUDA1', product: 'NVIDIA RTX A2000 (12 GB)', totalBytes: 11900 * MiB, freeBytes: 100 * MiB },
    ]);
  });

  it('is empty on a machine that computes on its CPU', () => {
    expect(parseDeviceList('Available devices:\n  (none)\n')).toEqual([]);
  });
});

describe('what a GPU module lacks', () => {
  const ldd = `	linux-vdso.so.1 (0x00007ffe)
	libggml-base.so => not found
	libcudart.so.13 => not found
	libcublas.so.13 => not found
	libcuda.so.1 => /usr/lib/libcuda.so.1 (0x00007f)
	libc.so.6 => /lib/libc.so.6 (0x00007f)
`;
  const module = { backend: 'cuda', runtime: 'CUDA 13', path: '/x/libggml-cuda.so' } as const;
  const answering = (stdout: string) => async () => ({ outcome: 'done', stdout, stderr: '' }) as const;

  it('is what the linker does not find, but for our own libraries', () => {
    expect(missingLibraries(ldd)).toEqual(['libcudart.so.13', 'libcublas.so.13']);
  });

  it('comes with the package that brings it', async () => {
    const { hint } = await checkModule(module, answering(ldd));
    expect(hint).toContain('cuda-cudart-13-0');
    expect(hint).not.toContain('driver');
    const without = await checkModule(
      module,
      answering(ldd.replace('=> /usr/lib/libcuda.so.1 (0x00007f)', '=> not found')),
    );
    expect(without.hint).toMatch(/driver.*cuda-cudart-13-0/);
    const vulkan = await checkModule(module, answering('\tlibvulkan.so.1 => not found\n'));
    expect(vulkan.hint).toContain('libvulkan1');
  });

  it('is nothing where there is no linker to ask', async () => {
    expect(await checkModule(module, async () => ({ outcome: 'missing' }))).toEqual({ module, missing: [] });
  });
});

describe('how far a compilation is', () => {
  it('is told by ninja and by make', () => {
    expect(compiledFraction('[3/60] Building CXX object x.o')).toBe(0.05);
    expect(compiledFraction('[  4%] Building CXX object x.o')).toBe(0.04);
    expect(compiledFraction('-- Configuring done')).toBeUndefined();
    expect(compiledFraction('[0/0] nothing')).toBeUndefined();
  });
});

it('no text whatever makes a parser throw', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 400 }), (text) => {
      parseDeviceList(text);
      parseProgramVersion(text);
      missingLibraries(text);
      compiledFraction(text);
    }),
  );
});
