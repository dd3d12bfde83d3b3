import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type AmdFiles, parseAmdCard } from '../../../../src/engine/hardware/amd-sysfs.ts';
import { parseAppleMemory } from '../../../../src/engine/hardware/apple-sysctl.ts';
import {
  parseCgroupFolders,
  parseCpuMax,
  parseCpuQuota,
  parseMemoryLimit,
  parseMemoryUsed,
} from '../../../../src/engine/hardware/cgroup.ts';
import { parseMemAvailable } from '../../../../src/engine/hardware/meminfo.ts';
import { parseNvidiaSmi } from '../../../../src/engine/hardware/nvidia-smi.ts';
import { hardwareLimits } from '../../../../src/util/limits/engine.ts';

const MiB = 2 ** 20;
const GiB = 2 ** 30;

function fixture(name: string): string {
  return readFileSync(new URL(`../../../fixtures/hardware/${name}`, import.meta.url), 'utf8');
}

describe('nvidia-smi', () => {
  test('lists each GPU with its memory', () => {
    expect(parseNvidiaSmi(fixture('nvidia-smi-two-gpus.txt'))).toEqual([
      {
        uuid: 'GPU-5f3c1c7e-6a0e-4f1f-9a8e-0d5c3f1b2a44',
        name: 'NVIDIA GeForce RTX 4090',
        memory: { totalBytes: 24_564 * MiB, freeBytes: 23_990 * MiB },
      },
      {
        uuid: 'GPU-8a1d2b3c-4e5f-6071-8293-a4b5c6d7e8f9',
        name: 'NVIDIA GeForce RTX 3060',
        memory: { totalBytes: 12_288 * MiB, freeBytes: 11_913 * MiB },
      },
    ]);
  });

  test.each(['unified', 'not-supported'])('that tells no memory (%s) means the machine has it', (name) => {
    const [gpu, ...more] = parseNvidiaSmi(fixture(`nvidia-smi-${name}.txt`));
    expect(gpu).toEqual({ uuid: expect.stringMatching(/^GPU-/), name: expect.stringMatching(/GB10|Orin/) });
    expect(more).toEqual([]);
  });

  test('a GPU in error is left out, its neighbours stay', () => {
    const gpus = parseNvidiaSmi(fixture('nvidia-smi-broken-gpu.txt'));
    expect(gpus.map(({ uuid }) => uuid)).toEqual(['GPU-11111111-2222-3333-4444-555555555555']);
  });

  test('lines about MIG slices are passed over', () => {
    expect(parseNvidiaSmi(fixture('nvidia-smi-mig.txt'))).toHaveLength(1);
  });

  test('decimals are cut with point or comma; what may be thousands is not guessed', () => {
    const [gpu, ...more] = parseNvidiaSmi(fixture('nvidia-smi-localised.txt'));
    expect(gpu?.memory).toEqual({ totalBytes: 49_140 * MiB, freeBytes: 48_676 * MiB });
    expect(more).toEqual([]);
  });

  test.each(['none', 'no-driver'])('sentences instead of lines (%s) are no GPU', (name) => {
    expect(parseNvidiaSmi(fixture(`nvidia-smi-${name}.txt`))).toEqual([]);
  });

  test.each([
    ['more memory than there can be', '0, GPU-a, X, 99999999999, 1'],
    ['absurd memory', '0, GPU-a, X, 2000000000, 1'],
    ['no memory', '0, GPU-a, X, 0, 0'],
    ['a missing field', '0, GPU-a, 24564, 23990'],
    ['an id that is none', '0, ../../etc, X, 24564, 23990'],
    ['an empty name', '0, GPU-a, , 24564, 23990'],
  ])('a line with %s is passed over', (_what, line) => {
    expect(parseNvidiaSmi(line)).toEqual([]);
  });

  test('more free than in all is all; unknown free is unknown; a name may hold commas', () => {
    expect(parseNvidiaSmi('0, GPU-a, X, 100, 200')[0]?.memory?.freeBytes).toBe(100 * MiB);
    expect(parseNvidiaSmi('0, GPU-a, X, 100, ?')[0]?.memory).toEqual({ totalBytes: 100 * MiB });
    expect(parseNvidiaSmi('0, GPU-a, X, Y, 100, 50')[0]?.name).toBe('X, Y');
  });

  test('the list is bounded', () => {
    const lines = Array.from({ length: 1_000 }, (_, index) => `${index}, GPU-${index}, X, 100, 50`);
    expect(parseNvidiaSmi(lines.join('\r\n'))).toHaveLength(hardwareLimits.devices);
  });
});

describe('amdgpu', () => {
  const discrete: AmdFiles = {
    vendor: '0x1002\n',
    device: '0x744c\n',
    uevent: 'DRIVER=amdgpu\nPCI_CLASS=30000\nPCI_ID=1002:744C\nPCI_SLOT_NAME=0000:03:00.0\n',
    product_name: '\n',
    mem_info_vram_total: '25753026560\n',
    mem_info_vram_used: '1073741824\n',
    mem_info_gtt_total: '33554432000\n',
    mem_info_gtt_used: '20000000\n',
  };

  test('a discrete GPU has its own memory, and a name even if the card tells none', () => {
    expect(parseAmdCard('card1', discrete)).toEqual({
      id: 'amd-0000:03:00.0',
      name: 'AMD GPU 0x744c',
      totalBytes: 25_753_026_560,
      freeBytes: 24_679_284_736,
      unified: false,
    });
    expect(parseAmdCard('card1', { ...discrete, product_name: 'AMD Instinct MI210\n' })).toMatchObject({
      name: 'AMD Instinct MI210',
    });
  });

  test('an APU with a small carve-out uses the memory of the machine', () => {
    const apu = { ...discrete, mem_info_vram_total: '536870912\n', mem_info_vram_used: '400000000\n' };
    expect(parseAmdCard('card0', apu)).toMatchObject({
      totalBytes: 33_554_432_000,
      freeBytes: 33_534_432_000,
      unified: true,
    });
  });

  test('an APU whose owner carved out much is like a discrete GPU', () => {
    const apu = { ...discrete, mem_info_vram_total: String(96 * GiB) };
    expect(parseAmdCard('card0', apu)).toMatchObject({ totalBytes: 96 * GiB, unified: false });
  });

  test.each([
    ['another vendor', { vendor: '0x8086\n' }],
    ['no memory told', { mem_info_vram_total: undefined }],
    ['rubbish for memory', { mem_info_vram_total: '-1' }],
    ['absurd memory', { mem_info_vram_total: '9999999999999999999' }],
    ['no memory', { mem_info_vram_total: '0', mem_info_gtt_total: '0' }],
  ])('a card with %s is none', (_what, files) => {
    expect(parseAmdCard('card0', { ...discrete, ...files } as AmdFiles)).toBeUndefined();
  });

  test('more used than there is leaves nothing', () => {
    const full = { ...discrete, mem_info_vram_used: '99999999999' };
    expect(parseAmdCard('card0', full)?.freeBytes).toBe(0);
  });
});

describe('sysctl on macOS', () => {
  test('without a limit set, small machines give Metal two thirds and large ones three quarters', () => {
    expect(parseAppleMemory(fixture('sysctl-m1-16.txt'))).toBe(Math.floor((16 * GiB * 2) / 3));
    expect(parseAppleMemory(fixture('sysctl-old-macos.txt'))).toBe(72 * GiB);
    expect(parseAppleMemory(`hw.memsize: ${36 * GiB}\n`)).toBe(27 * GiB);
  });

  test('the limit that the owner set counts, but never above the memory', () => {
    expect(parseAppleMemory(fixture('sysctl-m2-max-64-raised.txt'))).toBe(56 * GiB);
    expect(parseAppleMemory(`hw.memsize: ${8 * GiB}\niogpu.wired_limit_mb: 99999\n`)).toBe(8 * GiB);
  });

  test('rubbish tells nothing', () => {
    expect(parseAppleMemory('')).toBeUndefined();
    expect(parseAppleMemory('hw.memsize: lots\niogpu.wired_limit_mb: 0')).toBeUndefined();
  });
});

describe('/proc and control groups', () => {
  test('the memory that can be had', () => {
    expect(parseMemAvailable(fixture('proc-meminfo.txt'))).toBeGreaterThan(GiB);
    expect(parseMemAvailable('MemTotal: 1 kB\n')).toBeUndefined();
  });

  test('the groups of a process, the nearest first', () => {
    expect(parseCgroupFolders(fixture('proc-self-cgroup-hybrid.txt'))).toEqual({
      unified: ['/sys/fs/cgroup'],
      memory: [
        '/sys/fs/cgroup/memory/process_api/844299f263e26236d117a1e5810038ea',
        '/sys/fs/cgroup/memory/process_api',
        '/sys/fs/cgroup/memory',
      ],
      cpu: ['/sys/fs/cgroup/cpu'],
    });
    expect(parseCgroupFolders('0::/user.slice/user@1000.service\n').unified).toEqual([
      '/sys/fs/cgroup/user.slice/user@1000.service',
      '/sys/fs/cgroup/user.slice',
      '/sys/fs/cgroup',
    ]);
    expect(parseCgroupFolders('2:cpu,cpuacct:/docker/1:2\n').cpu[0]).toBe('/sys/fs/cgroup/cpu/docker/1:2');
  });

  test('a group outside of the container, or too deep, gives the root alone', () => {
    expect(parseCgroupFolders('0::/../../etc\n').unified).toEqual(['/sys/fs/cgroup']);
    expect(parseCgroupFolders(`0::${'/x'.repeat(1_000)}\n`).unified).toEqual(['/sys/fs/cgroup']);
    expect(parseCgroupFolders('garbage').unified).toEqual(['/sys/fs/cgroup']);
  });

  test('limits of memory, and the words for none', () => {
    expect(parseMemoryLimit('2147483648\n')).toBe(2 * GiB);
    expect(parseMemoryLimit('max\n')).toBeUndefined();
    expect(parseMemoryLimit('9223372036854771712\n')).toBeUndefined();
    expect(parseMemoryLimit(undefined)).toBeUndefined();
  });

  test('file pages that were not used lately can be taken back', () => {
    expect(parseMemoryUsed('1000\n', 'anon 1\ninactive_file 300\nactive_file 7\n')).toBe(700);
    expect(parseMemoryUsed('1000\n', 'inactive_file 1\ntotal_inactive_file 400\n')).toBe(600);
    expect(parseMemoryUsed('1000\n', 'inactive_file 5000\n')).toBe(0);
    expect(parseMemoryUsed(undefined, undefined)).toBe(0);
    expect(parseMemoryUsed('900000000\n', fixture('cgroup-v1-memory.stat.txt'))).toBeLessThan(900_000_000);
  });

  test('quotas of cores', () => {
    expect(parseCpuMax('150000 100000\n')).toBe(1.5);
    expect(parseCpuMax('max 100000\n')).toBeUndefined();
    expect(parseCpuMax('1 0')).toBeUndefined();
    expect(parseCpuQuota('-1\n', '100000\n')).toBeUndefined();
    expect(parseCpuQuota('400000\n', '100000\n')).toBe(4);
  });
});

test('no text whatever makes a parser throw', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 500 }), (text) => {
      parseNvidiaSmi(text);
      parseAmdCard(text, { vendor: '0x1002', mem_info_vram_total: text, product_name: text, uevent: text });
      parseAppleMemory(text);
      parseMemAvailable(text);
      parseCgroupFolders(text);
      parseMemoryUsed(text, text);
      parseCpuMax(text);
    }),
  );
});
