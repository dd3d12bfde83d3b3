import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type CommandSpec, commandTable } from '../../../src/cli/command-table.ts';
import { runCommandLine } from '../../support/command-line.ts';

describe('the command line', () => {
  it('shows every command in its help', async () => {
    const { exitCode, stdout } = await runCommandLine(['--help']);
    expect(exitCode).toBe(0);
    for (const { name, summary } of commandTable) {
      expect(stdout).toContain(name);
      expect(stdout.replaceAll(/\s+/g, ' ')).toContain(summary);
    }
  });

  it('has code for every command of its table', async () => {
    const all = (specs: readonly CommandSpec[]): CommandSpec[] =>
      specs.flatMap((spec) => [spec, ...all(spec.subcommands ?? [])]);
    // One without code has subcommands, and its help names them.
    for (const spec of all(commandTable).filter(
      ({ load, subcommands }) => load ?? subcommands === undefined,
    )) {
      expect(typeof (await spec.load?.()), spec.name).toBe('function');
    }
  });

  it('suggests the command that was meant, with exit code 2', async () => {
    const { exitCode, stderr, stdout } = await runCommandLine(['stauts']);
    expect(exitCode).toBe(2);
    expect(stderr).toContain("Did you mean 'status'?");
    expect(stdout).toBe('');
  });

  it.each([
    [['serve', '--prot', '1'], '--prot'],
    [['serve', 'extra'], 'too many arguments'],
    [['run'], "missing required argument 'model'"],
    [['completion', 'tcsh'], 'tcsh'],
    [['serve', '--port', 'many'], '--port'],
    [['config', 'get', 'colour'], 'colour'],
  ])('refuses %j as wrong usage', async (argv, named) => {
    const { exitCode, stderr } = await runCommandLine(argv, { MESHNODE_HOME: '/nonexistent' });
    expect(exitCode).toBe(2);
    expect(stderr.toLowerCase()).toContain(named.toLowerCase());
  });

  it('prints a failure as an event for programs, and as a sentence with its next step for people', async () => {
    const home = await mkdtemp(join(tmpdir(), 'meshnode-cli-'));
    const { exitCode, stdout, stderr } = await runCommandLine(['status', '--json'], { MESHNODE_HOME: home });
    expect(exitCode).toBe(69);
    expect(JSON.parse(stdout)).toMatchObject({
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      event: 'error',
      code: 'node_not_running',
      hint: expect.any(String),
    });
    expect(stderr).toMatch(/No node is running.*\n.*Start it/);
  });

  it('tells which line of the configuration is wrong', async () => {
    const home = await mkdtemp(join(tmpdir(), 'meshnode-cli-'));
    await writeFile(join(home, 'config.toml'), '# mine\nport = "many"\n');
    const { exitCode, stderr } = await runCommandLine(['config'], { MESHNODE_HOME: home });
    expect(exitCode).toBe(2);
    expect(stderr).toContain(`${join(home, 'config.toml')}:2`);
  });
});

describe('meshnode version', () => {
  it('prints data for programs with --json', async () => {
    const { stdout } = await runCommandLine(['version', '--json']);
    expect(JSON.parse(stdout)).toEqual({
      meshnode: expect.stringMatching(/^\d+\.\d+\.\d+/),
      node: process.version,
      platform: `${process.platform}-${process.arch}`,
    });
  });
});

describe('meshnode models', () => {
  it('calls no model fitting that it would not suggest for its size', async () => {
    const home = await mkdtemp(join(tmpdir(), 'meshnode-cli-'));
    const { stdout } = await runCommandLine(['models'], { MESHNODE_HOME: home, MESHNODE_MAX_VRAM: '2GiB' });
    // Its weights alone would fit.
    expect(stdout).toMatch(/^qwen3-1\.7b +chat .* no$/m);
  });

  it('pull tells programs what came, and when', async () => {
    const home = await mkdtemp(join(tmpdir(), 'meshnode-cli-'));
    const { stdout } = await runCommandLine(['models', 'pull', 'demo', '--json'], { MESHNODE_HOME: home });
    const events = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(events.at(-1)).toMatchObject({ event: 'pulled', model: 'demo', path: expect.any(String) });
    for (const { time } of events) {
      expect(new Date(time).toISOString()).toBe(time);
    }
  });
});

describe('meshnode doctor', () => {
  it('looks at the node that its options describe', async () => {
    const home = await mkdtemp(join(tmpdir(), 'meshnode-cli-'));
    const argv = ['doctor', '--json', '--host', '0.0.0.0', '--port', '0', '--engine', 'llama-server'];
    const attach = ['--console-port', '0', '--attach', 'http://127.0.0.1:9', '--llama-server', '/nowhere'];
    const { exitCode, stdout } = await runCommandLine([...argv, ...attach], { MESHNODE_HOME: home });
    const results = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    const outcomes = Object.fromEntries(results.map(({ check, outcome }) => [check, outcome]));
    expect(outcomes).toMatchObject({
      'API port': 'ok',
      'API access': 'failed',
      'engine llama-server': 'warning',
      'attached server http://127.0.0.1:9': 'failed',
    });
    expect(exitCode).toBe(1);
  });
});

describe('meshnode config', () => {
  it('sets, gets and explains a setting', async () => {
    const home = await mkdtemp(join(tmpdir(), 'meshnode-cli-'));
    const environment = { MESHNODE_HOME: home };
    expect((await runCommandLine(['config', 'set', 'port', '8080'], environment)).exitCode).toBe(0);
    expect((await runCommandLine(['config', 'get', 'port'], environment)).stdout).toBe('8080\n');
    const { stdout } = await runCommandLine(['config', 'explain', 'port', '--json'], {
      ...environment,
      MESHNODE_PORT: '9000',
    });
    expect(JSON.parse(stdout)).toMatchObject({
      value: 9000,
      source: 'environment',
      overruled: [
        { source: 'file', value: 8080 },
        { source: 'default', value: 9337 },
      ],
    });
  });

  it('never shows a key', async () => {
    const { stdout } = await runCommandLine(['config', '--json'], {
      MESHNODE_HOME: '/nonexistent',
      MESHNODE_API_KEY: 'a-very-secret-key-of-mine',
    });
    expect(stdout).not.toContain('very-secret');
  });
});
