import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { commandTable } from '../../../src/cli/command-table.ts';
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

  it('takes no value of an option for a command', async () => {
    expect(await bashOffers('meshnode', 'serve', '--port', '1', '--max')).toEqual(['--max-vram']);
    expect(await bashOffers('meshnode', 'serve', '--port', '=', '1', '--max')).toEqual(['--max-vram']);
    expect(await bashOffers('meshnode', '--name', 'version', '--max')).toEqual(['--max-vram']);
    expect(await bashOffers('meshnode', 'run', '--model', 'hf', ':', 'a/b', '--sys')).toEqual(['--system']);
    expect(await bashOffers('meshnode', 'serve', '--port', 'st')).toEqual([]);
  });

  it('offers the options of a command behind its arguments too', async () => {
    expect(await bashOffers('meshnode', 'run', 'demo', '--sys')).toEqual(['--system']);
    expect(await bashOffers('meshnode', 'config', 'get', 'port', '--js')).toEqual(['--json']);
  });

  it('offers subcommands and fixed words', async () => {
    expect(await bashOffers('meshnode', 'config', 'ex')).toEqual(['explain']);
    expect(await bashOffers('meshnode', 'completion', 'z')).toEqual(['zsh']);
  });
});

describe('meshnode completion zsh', () => {
  it('is the script for bash, and names no variable as zsh names its own', async () => {
    const { stdout: zsh } = await runCommandLine(['completion', 'zsh']);
    const { stdout: bash } = await runCommandLine(['completion', 'bash']);
    expect(zsh).toBe(`#compdef meshnode\nautoload -U +X bashcompinit && bashcompinit\n${bash}`);
    const variables = [...bash.matchAll(/(?:^|[\s;])([a-z_]+)=/g)].map(([, name]) => name);
    expect(variables).toContain('typed');
    for (const special of ['path', 'words', 'status', 'options', 'commands', 'prefix', 'suffix']) {
      expect(variables).not.toContain(special);
    }
    expect(bash).not.toMatch(/local [^\n]*\b(path|words)\b/);
  });
});

describe('meshnode completion fish', () => {
  /** What fish may offer at a command: the ends of the lines with its condition. */
  async function fishOffers(command: string): Promise<string[]> {
    const { stdout } = await runCommandLine(['completion', 'fish']);
    const start = `complete -c meshnode -n '${`__meshnode_at ${command}`.trimEnd()}' `;
    return stdout.split('\n').flatMap((line) => (line.startsWith(start) ? line.slice(start.length) : []));
  }

  it('offers every command, and the options of the default one, where none was typed', async () => {
    const offers = await fishOffers('');
    for (const { name, summary } of commandTable) {
      expect(offers).toContainEqual(expect.stringMatching(`^-f -a ${name} -d '${summary.slice(0, 10)}`));
    }
    expect(offers).toContainEqual(expect.stringMatching(/^-l port -r -d '/));
    expect(offers).toContainEqual(expect.stringMatching(/^-l headless -d '/));
  });

  it('offers names of models, fixed words and subcommands where they belong', async () => {
    expect(await fishOffers('run')).toContain("-a '(__meshnode_models)'");
    expect(await fishOffers('serve')).toContainEqual(
      expect.stringMatching(/^-l model -r -a '\(__meshnode_models\)' -d '/),
    );
    expect(await fishOffers('completion')).toContain("-f -a 'bash zsh fish'");
    expect(await fishOffers('models')).toContainEqual(expect.stringMatching(/^-f -a pull -d '/));
    expect(await fishOffers('models pull')).not.toContainEqual(expect.stringMatching(/-a pull/));
  });

  it('knows every command and every option with a value, to tell them from arguments', async () => {
    const { stdout } = await runCommandLine(['completion', 'fish']);
    const known = /string join -- ' ' \$typed \$token\) (.*)/.exec(stdout)?.[1] ?? '';
    expect(known).toContain("'models' 'models pull' 'models rm'");
    const valued = /contains -- \$token (--.*)/.exec(stdout)?.[1]?.split(' ') ?? [];
    expect(valued).toEqual(expect.arrayContaining(['--port', '--model', '--data-dir', '--system']));
    expect(valued).not.toContain('--headless');
    expect(valued).not.toContain('--json');
  });
});
