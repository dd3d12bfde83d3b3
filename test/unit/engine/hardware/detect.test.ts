import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { detectHardware } from '../../../../src/engine/hardware/detect.ts';
import type { DetectedDevice } from '../../../../src/engine/hardware/device.ts';
import { type SystemSource, thisMachine } from '../../../../src/engine/hardware/system-source.ts';
import { withUsableBytes } from '../../../../src/engine/hardware/usable.ts';
import type { CommandResult } from '../../../../src/engine/run-command.ts';
import { runCommand } from '../../../../src/engine/run-command.ts';

const MiB = 2 ** 20;
const GiB = 2 ** 30;
/** What the headroom of ten percent leaves. */
const usable = (bytes: number): number => Math.floor(bytes * 0.9);

interface FakeMachine extends Partial<SystemSource> {
  readonly commands?: Record<string, CommandResult | string>;
  readonly files?: Record<string, string>;
}

/** A Linux machine with 8 cores and 64 GiB, 48 of them free, and nothing else unless said. */
function machine({ commands = {}, files = {}, ...rest }: FakeMachine = {}): SystemSource {
  const allFiles: Record<string, string> = {
    '/proc/meminfo': `MemAvailable: ${48 * 1024 * 1024} kB\n`,
    ...files,
  };
  return {
    platform: 'linux',
    arch: 'x64',
    cpuModel: 'Test CPU',
    logicalCores: 8,
    availableCores: 8,
    totalMemoryBytes: 64 * GiB,
    freeMemoryBytes: 40 * GiB,
    run: async (command) => {
      const result = commands[command] ?? { outcome: 'missing' };
      return typeof result === 'string' ? { outcome: 'done', stdout: result, stderr: '' } : result;
    },
    readFile: async (path) => allFiles[path],
    listFolder: async (folder) => [
      ...new Set(
        Object.keys(allFiles)
          .filter((path) => path.startsWith(`${folder}/`))
          .map((path) => path.slice(folder.length + 1).split('/')[0] ?? ''),
      ),
    ],
    ...rest,
  };
}

function fixture(name: string): string {
  return readFileSync(new URL(`../../../fixtures/hardware/${name}`, import.meta.url), 'utf8');
}

function amdCard(card: string, vramBytes: number, gttBytes: number): Record<string, string> {
  const folder = `/sys/class/drm/${card}/device`;
  return {
    [`${folder}/vendor`]: '0x1002\n',
    [`${folder}/mem_info_vram_total`]: `${vramBytes}\n`,
    [`${folder}/mem_info_vram_used`]: '0\n',
    [`${folder}/mem_info_gtt_total`]: `${gttBytes}\n`,
    [`${folder}/mem_info_gtt_used`]: '0\n',
  };
}

describe('a machine', () => {
  test('without GPU offers its CPU with the memory that is available', async () => {
    expect(await detectHardware(machine())).toEqual({
      devices: [
        {
          id: 'cpu',
          kind: 'cpu',
          name: 'Test CPU',
          totalBytes: 64 * GiB,
          freeBytes: 48 * GiB,
          usableBytes: usable(48 * GiB),
          unified: false,
          source: 'system',
        },
      ],
      cpu: { model: 'Test CPU', logicalCores: 8, allowedCores: 8 },
      memory: { totalBytes: 64 * GiB, usableBytes: usable(48 * GiB) },
      notes: [],
    });
  });

  test('with NVIDIA GPUs offers what is free of each', async () => {
    const commands = { 'nvidia-smi': fixture('nvidia-smi-two-gpus.txt') };
    const { devices } = await detectHardware(machine({ commands }));
    expect(devices.map(({ kind, usableBytes }) => [kind, usableBytes])).toEqual([
      ['cuda', usable(23_990 * MiB)],
      ['cuda', usable(11_913 * MiB)],
      ['cpu', usable(48 * GiB)],
    ]);
  });

  test('whose NVIDIA GPU has no memory of its own shares that of the system', async () => {
    const commands = { 'nvidia-smi': fixture('nvidia-smi-unified.txt') };
    const { devices } = await detectHardware(machine({ commands }));
    expect(devices).toMatchObject([
      { kind: 'cuda', name: 'NVIDIA GB10', totalBytes: 64 * GiB, freeBytes: 48 * GiB, unified: true },
      { kind: 'cpu', unified: true },
    ]);
  });

  test('with AMD cards offers them, their plugs are no cards, and an APU has no more than is free', async () => {
    const files = {
      ...amdCard('card0', 512 * MiB, 60 * GiB),
      ...amdCard('card1', 16 * GiB, 32 * GiB),
      ...amdCard('card1-DP-1', 16 * GiB, 32 * GiB),
    };
    const { devices } = await detectHardware(machine({ files }));
    expect(devices).toMatchObject([
      { id: 'amd-card0', kind: 'rocm', totalBytes: 60 * GiB, freeBytes: 48 * GiB, unified: true },
      { id: 'amd-card1', kind: 'rocm', totalBytes: 16 * GiB, freeBytes: 16 * GiB, unified: false },
      { id: 'cpu', unified: true },
    ]);
  });

  test('of Apple offers what Metal may use, also where sysctl knows only half of it', async () => {
    const stdout = fixture('sysctl-old-macos.txt');
    const commands = { sysctl: { outcome: 'failed', stdout, reason: 'unknown oid' } } as const;
    const mac = machine({ commands, platform: 'darwin', arch: 'arm64', cpuModel: 'Apple M2 Max' });
    expect((await detectHardware(mac)).devices).toMatchObject([
      { id: 'metal', kind: 'metal', name: 'Apple M2 Max', totalBytes: 72 * GiB, unified: true },
      { kind: 'cpu', unified: true },
    ]);
  });

  test('of Apple with an Intel processor offers its CPU only', async () => {
    const mac = machine({ commands: { sysctl: fixture('sysctl-m1-16.txt') }, platform: 'darwin' });
    expect((await detectHardware(mac)).devices.map(({ id }) => id)).toEqual(['cpu']);
  });

  test('whose driver is broken says so and goes on', async () => {
    const failed = {
      outcome: 'failed',
      stdout: '',
      reason: "couldn't communicate with the NVIDIA driver",
    } as const;
    const { devices, notes } = await detectHardware(machine({ commands: { 'nvidia-smi': failed } }));
    expect(devices.map(({ id }) => id)).toEqual(['cpu']);
    expect(notes).toEqual(["nvidia-smi failed: couldn't communicate with the NVIDIA driver"]);
  });
});

describe('a container', () => {
  test('bounds memory by the smallest limit on the way up, and by what its neighbours left', async () => {
    const files = {
      '/proc/self/cgroup': '0::/outer/inner\n',
      '/sys/fs/cgroup/outer/inner/memory.max': 'max\n',
      '/sys/fs/cgroup/outer/inner/memory.high': `${20 * GiB}\n`,
      '/sys/fs/cgroup/outer/inner/memory.current': `${1 * GiB}\n`,
      '/sys/fs/cgroup/outer/memory.max': `${24 * GiB}\n`,
      '/sys/fs/cgroup/outer/memory.current': `${15 * GiB}\n`,
      '/sys/fs/cgroup/outer/memory.stat': `inactive_file ${1 * GiB}\n`,
    };
    const { memory, devices } = await detectHardware(machine({ files }));
    expect(memory).toEqual({ totalBytes: 20 * GiB, usableBytes: usable(10 * GiB), limitedBy: 'cgroup' });
    expect(devices).toMatchObject([{ totalBytes: 20 * GiB, freeBytes: 10 * GiB }]);
  });

  test("of version 1 whose path is the host's is bounded by the root it sees", async () => {
    const files = {
      '/proc/self/cgroup': '4:memory:/docker/abc\n1:cpu,cpuacct:/docker/abc\n',
      '/sys/fs/cgroup/memory/memory.limit_in_bytes': `${2 * GiB}\n`,
      '/sys/fs/cgroup/memory/memory.usage_in_bytes': `${1 * GiB}\n`,
      '/sys/fs/cgroup/cpu/cpu.cfs_quota_us': '250000\n',
      '/sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000\n',
    };
    const { memory, cpu } = await detectHardware(machine({ files }));
    expect(memory).toEqual({ totalBytes: 2 * GiB, usableBytes: usable(GiB), limitedBy: 'cgroup' });
    expect(cpu.allowedCores).toBe(2);
  });

  test('with a limit above the memory of the machine bounds nothing', async () => {
    const files = { '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/memory.max': `${1024 * GiB}\n` };
    expect((await detectHardware(machine({ files }))).memory).not.toHaveProperty('limitedBy');
  });

  test('bounds cores by affinity and quota, but one is always left', async () => {
    const files = { '/proc/self/cgroup': '0::/a\n', '/sys/fs/cgroup/a/cpu.max': '50000 100000\n' };
    expect((await detectHardware(machine({ files }))).cpu.allowedCores).toBe(1);
    expect((await detectHardware(machine({ availableCores: 3 }))).cpu.allowedCores).toBe(3);
  });
});

describe("the engine's own list", () => {
  const commands = { 'nvidia-smi': fixture('nvidia-smi-two-gpus.txt') };
  const devicesWith = async (
    listed: Array<{ name: string; totalBytes: number; freeBytes?: number }> | undefined,
  ) => (await detectHardware(machine({ commands, engineDevices: async () => listed }))).devices.slice(0, -1);

  test('decides which GPUs there are and what they have', async () => {
    const name = 'nvidia geforce RTX 3060';
    expect(await devicesWith([{ name, totalBytes: 12 * GiB, freeBytes: 10 * GiB }])).toEqual([
      {
        id: 'GPU-8a1d2b3c-4e5f-6071-8293-a4b5c6d7e8f9',
        kind: 'cuda',
        name: 'NVIDIA GeForce RTX 3060',
        totalBytes: 12 * GiB,
        freeBytes: 10 * GiB,
        usableBytes: usable(10 * GiB),
        unified: false,
        source: 'engine',
      },
    ]);
    expect(await devicesWith([])).toEqual([]);
  });

  test('may name backends instead of products', async () => {
    const listed = [
      { name: 'CUDA0', totalBytes: 24 * GiB, freeBytes: 20 * GiB },
      { name: 'Vulkan1', totalBytes: 12 * GiB },
      { name: 'Vulkan2', totalBytes: 6 * GiB, freeBytes: 7 * GiB },
    ];
    expect(await devicesWith(listed)).toMatchObject([
      { name: 'NVIDIA GeForce RTX 4090', freeBytes: 20 * GiB },
      { name: 'NVIDIA GeForce RTX 3060', totalBytes: 12 * GiB },
      { id: 'engine-2', name: 'Vulkan2', kind: 'vulkan', freeBytes: 6 * GiB },
    ]);
  });

  test('that sums several GPUs yields to the finer figures, if all of them were found', async () => {
    const both = 'NVIDIA GeForce RTX 4090 + NVIDIA GeForce RTX 3060';
    expect(await devicesWith([{ name: both, totalBytes: 36 * GiB }])).toMatchObject([
      { totalBytes: 24_564 * MiB, source: 'nvidia-smi' },
      { totalBytes: 12_288 * MiB, source: 'nvidia-smi' },
    ]);
    const other = 'NVIDIA GeForce RTX 4090 + NVIDIA T4';
    expect(await devicesWith([{ name: other, totalBytes: 40 * GiB }])).toMatchObject([
      { id: 'engine-0', name: other, kind: 'cuda', totalBytes: 40 * GiB },
    ]);
  });

  test('that cannot be had leaves what was detected', async () => {
    expect(await devicesWith(undefined)).toHaveLength(2);
    const engineDevices = () => Promise.reject(new Error('no runtime'));
    const { devices, notes } = await detectHardware(machine({ commands, engineDevices }));
    expect(devices).toHaveLength(3);
    expect(notes).toEqual(['The engine could not list its devices.']);
  });

  test('full of rubbish cannot do harm', async () => {
    const listed = [{ name: '\u0000\n', totalBytes: Number.NaN, freeBytes: -5 }];
    expect(await devicesWith(listed)).toMatchObject([
      { name: 'GPU', totalBytes: 0, freeBytes: 0, usableBytes: 0 },
    ]);
  });
});

describe("the owner's bound", () => {
  test('is for all GPUs together, each giving its share, and spares the CPU beside them', async () => {
    const commands = { 'nvidia-smi': '0, GPU-a, X, 4096, 3072\n1, GPU-b, X, 4096, 1024\n' };
    const { devices } = await detectHardware(machine({ commands }), { maxVramBytes: 2 * GiB });
    expect(devices.map(({ usableBytes }) => usableBytes)).toEqual([
      usable(1.5 * GiB),
      usable(0.5 * GiB),
      usable(48 * GiB),
    ]);
  });

  test('is for the CPU where there is no GPU', async () => {
    const { devices } = await detectHardware(machine(), { maxVramBytes: 4 * GiB });
    expect(devices).toMatchObject([{ usableBytes: usable(4 * GiB) }]);
  });

  test('of nothing leaves nothing', async () => {
    const { devices } = await detectHardware(machine({ commands: { 'nvidia-smi': '0, GPU-a, X, 9, 9' } }), {
      maxVramBytes: 0,
    });
    expect(devices[0]?.usableBytes).toBe(0);
  });

  test('is never passed, and no device gives more than it has or less than nothing', () => {
    const bytes = fc.integer({ min: 0, max: 2 ** 46 });
    const device = fc.record({ totalBytes: bytes, freeBytes: fc.integer({ min: -1_000, max: 2 ** 47 }) }).map(
      (memory): DetectedDevice => ({
        id: 'x',
        kind: 'cuda',
        name: 'x',
        unified: false,
        source: 'test',
        ...memory,
      }),
    );
    fc.assert(
      fc.property(fc.array(device, { maxLength: 5 }), device, bytes, (gpus, cpu, maxVramBytes) => {
        const devices = withUsableBytes(gpus, cpu, maxVramBytes);
        const bounded = gpus.length === 0 ? devices : devices.slice(0, -1);
        expect(bounded.reduce((sum, { usableBytes }) => sum + usableBytes, 0)).toBeLessThanOrEqual(
          maxVramBytes,
        );
        for (const { usableBytes, totalBytes, freeBytes } of devices) {
          expect(usableBytes).toBeGreaterThanOrEqual(0);
          expect(usableBytes).toBeLessThanOrEqual(Math.max(0, Math.min(totalBytes, freeBytes ?? totalBytes)));
        }
      }),
    );
  });
});

test('an aborted signal ends the detection', async () => {
  const abort = new AbortController();
  const run = (): Promise<CommandResult> => {
    abort.abort(new Error('never mind'));
    return Promise.reject(abort.signal.reason);
  };
  await expect(detectHardware(machine({ run }), { signal: abort.signal })).rejects.toThrow('never mind');
});

test('this machine can be read', async () => {
  const { devices, cpu, memory } = await detectHardware(thisMachine());
  expect(devices.at(-1)).toMatchObject({ id: 'cpu', kind: 'cpu' });
  expect(cpu.allowedCores).toBeGreaterThanOrEqual(1);
  expect(memory.totalBytes).toBeGreaterThan(64 * MiB);
  expect(memory.usableBytes).toBeLessThan(memory.totalBytes);
});

describe('a command', () => {
  test('that is missing, fails or succeeds is three answers', async () => {
    expect(await runCommand('meshnode-no-such-program', [])).toEqual({ outcome: 'missing' });
    expect(await runCommand('sh', ['-c', 'echo half; echo why >&2; exit 3'])).toEqual({
      outcome: 'failed',
      stdout: 'half\n',
      reason: 'half',
    });
    expect(await runCommand('echo', ['$HOME `id`'])).toEqual({
      outcome: 'done',
      stdout: '$HOME `id`\n',
      stderr: '',
    });
  });

  test('that prints without end is cut off', async () => {
    expect(await runCommand('yes', [])).toMatchObject({ outcome: 'failed' });
  });

  test('is ended by the signal', async () => {
    const abort = new AbortController();
    const running = runCommand('sleep', ['600'], abort.signal);
    abort.abort(new Error('never mind'));
    await expect(running).rejects.toThrow('never mind');
  });
});
