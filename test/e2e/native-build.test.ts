// `meshnode engine`: what it says and does on machines that lack something, are interrupted, or have other programs.
// The real build is made by the test command itself; here git, cmake and the compiler are doubles that misbehave.
import { chmod, cp, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { nativeSearch } from '../support/llama-server.ts';
import { processTree } from '../support/node-under-test.ts';
import { allGone, meshnodeProgram, StartedProcess } from '../support/started-process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const root = await temporaryFolder();
const { programs } = await nativeSearch();
const builtPrograms =
  programs === undefined ? undefined : join(dirname(dirname(programs.llamaServer)), 'bin');
let machines = 0;

/** A machine as far as commands see it: what is on its PATH, and an empty cache. */
async function machine(tools: Record<string, string>) {
  const base = join(root, String(++machines));
  const bin = join(base, 'bin');
  await mkdir(bin, { recursive: true });
  // What the launcher and the scripts below need.
  for (const command of [
    'sh',
    'dirname',
    'readlink',
    'uname',
    'mkdir',
    'cp',
    'sleep',
    'cat',
    'touch',
    'ldd',
    'bash',
  ]) {
    await symlink(`/usr/bin/${command}`, join(bin, command));
  }
  for (const [name, script] of Object.entries(tools)) {
    await writeFile(join(bin, name), `#!/bin/sh\n${script}\n`);
    await chmod(join(bin, name), 0o755);
  }
  const environment = {
    PATH: bin,
    HOME: base,
    XDG_CACHE_HOME: join(base, 'cache'),
    MESHNODE_HOME: join(base, 'home'),
    MESHNODE_NODE: process.execPath,
  };
  const cache = join(base, 'cache', 'meshnode', 'engine');
  const start = (...args: string[]): StartedProcess => {
    const started = new StartedProcess(meshnodeProgram, args, { environment });
    onTestFinished(async () => {
      await started.stop('SIGKILL');
    });
    return started;
  };
  const run = async (...args: string[]) => {
    const started = start(...args);
    return { exitCode: await started.exited, stdout: started.stdout, stderr: started.stderr };
  };
  return { base, cache, start, run };
}

/** Tools that build at once: what they "compile" are the real programs. */
const workingTools = {
  git: 'case "$*" in *--version*) echo git version 2;; *clone*) for last; do :; done; mkdir -p "$last";; esac',
  'c++': 'echo c++ 1.0',
  ninja: 'echo 1.0',
  cmake: `case "$*" in
    *--version*) echo cmake version 3;;
    *--build*) echo "[1/2] Building"; mkdir -p "$2/bin"; cp ${builtPrograms}/* "$2/bin"; echo "[2/2] Linking";;
  esac`,
};

/** The same, but the compilation waits until a file is there, having made another. */
const slowTools = (folder: string) => ({
  ...workingTools,
  cmake: workingTools.cmake.replace(
    'echo "[1/2] Building";',
    `echo "[1/2] Building"; touch ${folder}/began; echo x >> ${folder}/compiled; while [ ! -e ${folder}/go ]; do sleep 0.05; done;`,
  ),
});

const whenBuilt = describe.skipIf(builtPrograms === undefined);

describe('a machine without', () => {
  it.each([
    ['a compiler', { git: 'echo 1', cmake: 'echo 1', make: 'echo 1' }, 'C++ compiler'],
    ['git', { cmake: 'echo 1', make: 'echo 1', 'c++': 'echo 1' }, 'git'],
    ['anything', {}, 'git and cmake and C++ compiler and make or ninja'],
  ])('%s is told so, with the packages to install', async (_, tools, missing) => {
    const { run } = await machine(tools);
    const { exitCode, stderr } = await run('engine', 'build');
    expect(stderr).toContain(`A build needs ${missing}, not found here.`);
    expect(stderr).toMatch(/apt install|xcode-select/);
    expect(exitCode).toBe(69);
  });

  it('a compiler goes on without a build, if that is what was asked for', async () => {
    const { run } = await machine({});
    const { exitCode, stderr } = await run('engine', 'build', '--if-possible');
    expect(stderr).toContain('The native engine is not built');
    expect(exitCode).toBe(0);
  });

  it('a build says what there is and what to do', async () => {
    const { run } = await machine({});
    const { exitCode, stdout } = await run('engine', 'status', '--json');
    expect(JSON.parse(stdout)).toMatchObject({ llamaServer: null, canBuild: false, rpcBuild: null });
    expect(exitCode).toBe(0);
  });
});

whenBuilt('a build', () => {
  it('tells its stages, is there the next time, and its programs are used', async () => {
    const { run } = await machine(workingTools);
    const first = await run('engine', 'build', '--json');
    const events = first.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(first.exitCode, first.stderr).toBe(0);
    expect([...new Set(events.map(({ stage }) => stage))]).toEqual([
      ...['unpacking', 'configuring', 'compiling', 'checking', undefined],
    ]);
    expect(events.at(-1)).toMatchObject({ event: 'built', wasThere: false, isFull: false });
    expect((await run('engine', 'build')).stderr).toContain('is there already');
    expect(JSON.parse((await run('engine', 'status', '--json')).stdout)).toMatchObject({
      origin: 'built',
      passedOver: [],
    });
  });

  it('is made once by two that want it at the same time', async () => {
    const { base, start } = await machine(slowTools(join(root, String(machines + 1))));
    const first = start('engine', 'build', '--json');
    await first.event('build', { stage: 'compiling' });
    const second = start('engine', 'build', '--json');
    await second.event('build', { stage: 'waiting' });
    await writeFile(join(base, 'go'), '');
    expect(await first.event('built')).toMatchObject({ wasThere: false });
    expect(await second.event('built')).toMatchObject({ wasThere: true });
    expect(await Promise.all([first.exited, second.exited])).toEqual([0, 0]);
    expect(await readFile(join(base, 'compiled'), 'utf8')).toBe('x\n');
  });

  it('that was killed half way is begun anew', async () => {
    const { base, cache, start, run } = await machine(slowTools(join(root, String(machines + 1))));
    const first = start('engine', 'build', '--json');
    await first.event('build', { stage: 'compiling' });
    await first.stop('SIGKILL');
    expect((await readdir(cache)).some((name) => name.endsWith('.unfinished'))).toBe(true);
    expect(JSON.parse((await run('engine', 'status', '--json')).stdout)).toMatchObject({ llamaServer: null });
    await writeFile(join(base, 'go'), '');
    const again = await run('engine', 'build');
    expect(again.exitCode, again.stderr).toBe(0);
    expect((await readdir(cache)).some((name) => name.endsWith('.unfinished'))).toBe(false);
  });

  it('that is interrupted leaves nothing behind, and no compiler running', async () => {
    const { cache, start } = await machine(slowTools(join(root, String(machines + 1))));
    const build = start('engine', 'build', '--json');
    await build.event('build', { stage: 'compiling' });
    build.child.kill('SIGINT');
    expect(await build.exited).toBe(130);
    expect((await readdir(cache)).filter((name) => !name.endsWith('.lock'))).toEqual([]);
  });

  it.each([
    [
      'an error of the compiler',
      'echo "x.cpp:1: error: expected unqualified-id" >&2; exit 2',
      /expected unqualified-id/,
    ],
    [
      'a full disk',
      'echo "fatal error: x.o: No space left on device" >&2; exit 1',
      /The disk ran full.*XDG_CACHE_HOME|Free some space/s,
    ],
  ])('that ends with %s says so, and leaves nothing behind', async (_, failure, words) => {
    const cmake = workingTools.cmake.replace('echo "[1/2] Building";', `${failure};`);
    const { cache, run } = await machine({ ...workingTools, cmake });
    const { exitCode, stderr } = await run('engine', 'build');
    expect(stderr).toMatch(words);
    expect(exitCode).toBe(1);
    expect((await readdir(cache)).filter((name) => !name.endsWith('.lock'))).toEqual([]);
  });

  it('whose program does not start is an error, not an engine', async () => {
    const cmake = workingTools.cmake.replace(
      /cp \S+\/\* "\$2\/bin"/,
      'echo "#!/bin/sh\nexit 3" > "$2/bin/llama-server"',
    );
    const { run } = await machine({ ...workingTools, cmake });
    const { exitCode, stderr } = await run('engine', 'build');
    expect(stderr).toContain('was built but does not start');
    expect(exitCode).toBe(1);
  });
});

whenBuilt('programs that do not fit', () => {
  it('in the cache, broken since, are passed over with the way to mend them', async () => {
    const { cache, run } = await machine(workingTools);
    await run('engine', 'build');
    const [name = ''] = (await readdir(cache)).filter((entry) => !entry.endsWith('.lock'));
    for (const folder of ['bin', 'cpu']) {
      await writeFile(join(cache, name, folder, 'llama-server'), 'no program').catch(() => {}); // Not each is arranged yet.
    }
    const { stdout } = await run('engine', 'status', '--json');
    expect(JSON.parse(stdout)).toMatchObject({
      llamaServer: null,
      passedOver: [{ reason: expect.stringContaining('engine build --again') }],
    });
    expect((await run('engine', 'build', '--again')).exitCode).toBe(0);
    expect(JSON.parse((await run('engine', 'status', '--json')).stdout)).toMatchObject({ origin: 'built' });
  });

  it('in the cache, of another version of the package, are not looked at', async () => {
    const { cache, run } = await machine(workingTools);
    await run('engine', 'build');
    const [name = ''] = (await readdir(cache)).filter((entry) => !entry.endsWith('.lock'));
    await cp(join(cache, name), join(cache, name.replace(/^[\d.]+/, '1.0.0')), { recursive: true });
    const { stdout } = await run('engine', 'status', '--json');
    expect(JSON.parse(stdout).llamaServer).toContain(name);
  });

  it('on the PATH, of another release, are passed over by name', async () => {
    const { run } = await machine({ 'llama-server': 'echo "version: 0.4.9 (build 7000, commit abcdef)"' });
    const { stdout } = await run('engine', 'status', '--json');
    expect(JSON.parse(stdout)).toMatchObject({
      llamaServer: null,
      passedOver: [{ reason: 'It is llama.cpp 0.4.9; this meshnode works with 0.5.0.' }],
    });
  });

  it('on the PATH, of our release, are used', async () => {
    const { run } = await machine({ 'llama-server': `exec ${programs?.llamaServer} "$@"` });
    const { stdout } = await run('engine', 'status', '--json');
    expect(JSON.parse(stdout)).toMatchObject({ origin: 'path', rpcServer: null, rpcBuild: '0.5.0+0ad4a86' });
  });

  it('that the user has named are an error', async () => {
    const { run } = await machine({});
    const { exitCode, stderr } = await run('engine', 'status', '--llama-server', '/nowhere/llama-server');
    expect(stderr).toContain('/nowhere/llama-server is no program that can be run.');
    expect(exitCode).toBe(2);
  });
});

whenBuilt('a node', () => {
  it('serves with the embedded engine where the native one is broken, and says which it uses', async () => {
    const { start } = await machine({ 'llama-server': 'echo "version: 0.4.9 (build 7000, commit abcdef)"' });
    const node = start('--model', 'demo', '--port', '0', '--console-port', '0', '--json');
    expect(await node.event('model', { state: 'ready' })).toMatchObject({ engine: 'embedded' });
  });

  it('ends its llama-server with it, even on kill -9', async () => {
    const { start } = await machine({ 'llama-server': `exec ${programs?.llamaServer} "$@"` });
    const node = start('--model', 'demo', '--port', '0', '--console-port', '0', '--json');
    expect(await node.event('model', { state: 'ready' })).toMatchObject({ engine: 'llama-server' });
    const tree = await processTree(node.pid);
    expect(tree.length).toBeGreaterThan(1);
    await node.stop('SIGKILL');
    await allGone(tree, 3_000);
  });
});
