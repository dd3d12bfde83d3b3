import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { runCommandLine } from '../../support/command-line.ts';

/** What bash offers after `words`, the last of which is being typed. */
async function bashOffers(...words: string[]): Promise<string[]> {
  const { stdout: script } = await runCommandLine(['completion', 'bash']);
  // There is no `meshnode` on this PATH: the script must do without names of models then.
  const program = `${script}
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _meshnode; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const printed = execFileSync('bash', ['--norc', '-c', program, 'bash', ...words], {
    env: { PATH: '/usr/bin:/bin' },
    encoding: 'utf8',
  });
  return printed.split('\n').filter((line) => line !== '');
}

describe('meshnode completion bash', () => {
  it('offers commands', async () => {
    expect(await bashOffers('meshnode', 'sta')).toEqual(['status']);
  });

  it('offers the options of the default command', async () => {
    expect(await bashOffers('meshnode', '--max')).toEqual(['--max-vram']);
  });

  it('offers the options of the command that was typed', async () => {
    expect(await bashOffers('meshnode', 'run', '--sys')).toEqual(['--system']);
    expect(await bashOffers('meshnode', 'version', '--sys')).toEqual([]);
  });

  it('offers subcommands and fixed words', async () => {
    expect(await bashOffers('meshnode', 'config', 'ex')).toEqual(['explain']);
    expect(await bashOffers('meshnode', 'completion', 'z')).toEqual(['zsh']);
  });
});

describe('meshnode completion fish and zsh', () => {
  it('are made of the same table', async () => {
    const { stdout: fish } = await runCommandLine(['completion', 'fish']);
    expect(fish).toContain("-a status -d 'what the running node does'");
    expect(fish).toContain('-l max-vram -r -d');
    const { stdout: zsh } = await runCommandLine(['completion', 'zsh']);
    expect(zsh).toMatch(/^#compdef meshnode/);
  });
});
