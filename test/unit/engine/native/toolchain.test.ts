import { describe, expect, it } from 'vitest';
import { findToolchain } from '../../../../src/engine/native/toolchain.ts';
import type { RunCommand } from '../../../../src/engine/run-command.ts';

/** A machine that has these commands. */
function machineWith(...commands: string[]): RunCommand {
  return async (command) =>
    commands.includes(command)
      ? { outcome: 'done', stdout: `${command} version 1\nmore\n`, stderr: '' }
      : { outcome: 'missing' };
}

const linux = { platform: 'linux', chosenCompiler: undefined } as const;

describe('the tools of a build', () => {
  it('are git, cmake, a compiler, and ninja before make', async () => {
    expect(
      await findToolchain({ ...linux, run: machineWith('git', 'cmake', 'g++', 'make', 'ninja') }),
    ).toEqual({
      ok: true,
      toolchain: { compiler: 'g++ version 1', compilerCommand: 'g++', generator: 'Ninja' },
    });
    const answer = await findToolchain({ ...linux, run: machineWith('git', 'cmake', 'c++', 'make') });
    expect(answer).toMatchObject({ toolchain: { generator: 'Unix Makefiles', compilerCommand: 'c++' } });
  });

  it('are named when they are missing, each with the package that brings it', async () => {
    const answer = await findToolchain({ ...linux, run: machineWith('git', 'make') });
    expect(answer).toMatchObject({ ok: false, missing: ['cmake', 'C++ compiler'] });
    expect(answer.ok ? '' : answer.hint).toContain('sudo apt install cmake g++');
    const bare = await findToolchain({ ...linux, run: machineWith() });
    expect(bare).toMatchObject({ missing: ['git', 'cmake', 'C++ compiler', 'make or ninja'] });
  });

  it('are those of Xcode on a Mac', async () => {
    const answer = await findToolchain({
      platform: 'darwin',
      chosenCompiler: undefined,
      run: machineWith('git', 'make', 'c++'),
    });
    expect(answer.ok ? '' : answer.hint).toMatch(/xcode-select --install.*brew install cmake/);
  });

  it('are the compiler that the user chose, or none', async () => {
    const run = machineWith('git', 'cmake', 'make', 'c++');
    expect(await findToolchain({ platform: 'linux', run, chosenCompiler: 'clang++-19' })).toMatchObject({
      ok: false,
      missing: ['C++ compiler'],
    });
  });
});
