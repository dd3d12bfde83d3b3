// `meshnode keys` in this process, without a running node.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runCommandLine } from '../../support/command-line.ts';

let home: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'meshnode-cli-'));
});
afterEach(() => rm(home, { recursive: true }));

const keys = (...args: string[]) => runCommandLine(['keys', ...args], { MESHNODE_HOME: home });

describe('meshnode keys', () => {
  it('create prints the key alone on standard output, and says that it is shown once', async () => {
    const { exitCode, stdout, stderr } = await keys('create', 'laptop');
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^mn-[\w-]{43}\n$/);
    expect(stderr).toContain('not shown again');
  });

  it('create tells programs everything', async () => {
    const args = ['--rate', '10', '--tokens-per-minute', '500', '--tokens-per-day', '9000'];
    const { stdout } = await keys('create', 'ci', ...args, '--json');
    expect(JSON.parse(stdout)).toEqual({
      name: 'ci',
      createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
      requestsPerMinute: 10,
      tokensPerMinute: 500,
      tokensPerDay: 9000,
      key: expect.stringMatching(/^mn-/),
    });
  });

  it.each(['0', '-1', '1.5', 'many', '1e300', ''])('create refuses a rate of %j', async (rate) => {
    const { exitCode, stderr } = await keys('create', 'ci', `--rate=${rate}`);
    expect(exitCode).toBe(2);
    expect(stderr).toContain('--rate');
    expect((await keys('list', '--json')).stdout).toBe('');
  });

  it('list shows names and limits, never a key or its hash', async () => {
    expect((await keys('list')).stderr).toContain('There is no key.');
    const key = (await keys('create', 'laptop', '--rate', '7')).stdout.trim();
    await keys('create', 'phone');
    for (const args of [[], ['list']]) {
      const { stdout } = await keys(...args);
      expect(stdout).toMatch(/laptop +\S+ +7 +- +-\nphone/);
      expect(stdout).not.toContain(key.slice(0, 10));
    }
    const listed = (await keys('list', '--json')).stdout;
    const [first, second] = listed.trim().split('\n');
    expect(JSON.parse(first ?? '')).toEqual({
      name: 'laptop',
      createdAt: expect.any(String),
      requestsPerMinute: 7,
    });
    expect(JSON.parse(second ?? '')).toMatchObject({ name: 'phone' });
    expect(listed).not.toMatch(/sha256|mn-/);
  });

  it('revoke takes a key away, and warns when it was the last', async () => {
    await keys('create', 'laptop');
    await keys('create', 'phone');
    expect((await keys('revoke', 'laptop')).stderr).not.toContain('nobody');
    expect((await keys('revoke', 'phone')).stderr).toContain('nobody can call');
    const { exitCode, stderr } = await keys('revoke', 'phone');
    expect(exitCode).toBe(2);
    expect(stderr).toContain("There is no key 'phone'");
  });

  it('names a damaged file and leaves it alone', async () => {
    const path = join(home, 'api-keys.json');
    await writeFile(path, '{"keys": 3}');
    for (const args of [['list'], ['create', 'laptop'], ['revoke', 'laptop']]) {
      const { exitCode, stderr } = await keys(...args);
      expect(exitCode).toBe(2);
      expect(stderr).toContain(`${path} is damaged`);
    }
    expect(await readFile(path, 'utf8')).toBe('{"keys": 3}');
  });
});
