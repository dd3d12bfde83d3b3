// The launcher bin/meshnode: which Node.js it takes, how it finds itself, what it says if it cannot start,
// and that it becomes the node's process.
import { chmod, copyFile, mkdir, mkdtemp, readFile, realpath, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { processTree } from '../support/node-under-test.ts';
import { allGone, meshnodeProgram, StartedProcess, startNode } from '../support/started-process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const folder = await temporaryFolder();
const root = dirname(dirname(meshnodeProgram));
/** What the shell script itself needs. A Node.js that lies there too comes after what a test puts first. */
const systemPath = '/usr/bin:/bin';

/** A folder with a `node` that runs this script. */
async function folderWithNode(script: string): Promise<string> {
  const path = await mkdtemp(join(folder, 'nodes-'));
  await writeFile(join(path, 'node'), `#!/bin/sh\n${script}\n`);
  await chmod(join(path, 'node'), 0o755);
  return path;
}

/** Old: it runs, but says no to the question for its version. */
const oldNode = () => folderWithNode('exit 1');

/** A Node.js that writes down that it was taken. */
async function markedNode(): Promise<{ path: string; isUsed: () => Promise<boolean> }> {
  const mark = join(await mkdtemp(join(folder, 'mark-')), 'used');
  const script = `case "$1" in -e) ;; *) echo used > "${mark}" ;; esac\nexec "${process.execPath}" "$@"`;
  return {
    path: await folderWithNode(script),
    isUsed: () =>
      readFile(mark).then(
        () => true,
        () => false,
      ),
  };
}

/** A checkout with the launcher and what else a test wants of it. */
async function tree(parts: { dist?: true; modules?: true }, name = 'tree'): Promise<string> {
  const path = join(await mkdtemp(join(folder, 'checkout-')), name);
  await mkdir(join(path, 'bin'), { recursive: true });
  await copyFile(meshnodeProgram, join(path, 'bin/meshnode'));
  for (const part of [parts.dist && 'dist', parts.modules && 'node_modules']) {
    if (part !== undefined) {
      await symlink(join(root, part), join(path, part));
    }
  }
  return path;
}

interface Launch {
  readonly path?: string;
  readonly cwd?: string;
  readonly environment?: Record<string, string>;
}

/** Runs `meshnode version` by some name of the launcher. */
async function launch(program: string, options: Launch = {}) {
  const { path = process.env['PATH'] ?? systemPath, cwd = folder, environment } = options;
  const run = 'cd "$1" && exec "$2" version --json';
  const started = new StartedProcess('/bin/sh', ['-c', run, 'sh', cwd, program], {
    environment: { MESHNODE_NODE: '', ...environment, PATH: path },
  });
  const exitCode = await started.exited;
  return { exitCode, stdout: started.stdout, stderr: started.stderr };
}

const works = { exitCode: 0, stdout: expect.stringContaining('"meshnode"'), stderr: '' };

describe('the launcher takes', () => {
  it('the Node.js on the PATH', async () => {
    const node = await markedNode();
    expect(await launch(meshnodeProgram, { path: `${node.path}:${systemPath}` })).toMatchObject(works);
    expect(await node.isUsed()).toBe(true);
  });

  it('that of the checkout if the one on the PATH is too old', async () => {
    const path = `${await oldNode()}:${systemPath}`;
    expect(await launch(meshnodeProgram, { path })).toMatchObject(works);
  });

  it('the one that MESHNODE_NODE names before all others', async () => {
    const named = await markedNode();
    const onPath = await markedNode();
    const environment = { MESHNODE_NODE: join(named.path, 'node') };
    const path = `${onPath.path}:${systemPath}`;
    expect(await launch(meshnodeProgram, { path, environment })).toMatchObject(works);
    expect([await named.isUsed(), await onPath.isUsed()]).toEqual([true, false]);
  });

  it.each([
    { what: 'is too old', named: async () => join(await oldNode(), 'node') },
    { what: 'is not there', named: async () => join(folder, 'nowhere/node') },
  ])('the next if the one that MESHNODE_NODE names $what', async ({ named }) => {
    const onPath = await markedNode();
    const environment = { MESHNODE_NODE: await named() };
    const path = `${onPath.path}:${systemPath}`;
    expect(await launch(meshnodeProgram, { path, environment })).toMatchObject(works);
    expect(await onPath.isUsed()).toBe(true);
  });
});

describe('the launcher says in one sentence', () => {
  it('that there is no Node.js that is new enough', async () => {
    const checkout = await tree({ dist: true });
    const outcome = await launch(join(checkout, 'bin/meshnode'), {
      path: `${await oldNode()}:${systemPath}`,
    });
    expect(outcome).toMatchObject({ exitCode: 69, stdout: '' });
    expect(outcome.stderr).toMatch(/^meshnode: .*Node\.js 22\.19 or newer.*MESHNODE_NODE.*\.\n$/);
  });

  it('that it is not built, and where', async () => {
    const checkout = await tree({ modules: true });
    const outcome = await launch(join(checkout, 'bin/meshnode'));
    expect(outcome).toMatchObject({ exitCode: 69, stdout: '' });
    expect(outcome.stderr).toMatch(/^meshnode: .*not built.*npm run build.*\.\n$/);
    expect(outcome.stderr).toContain(await realpath(checkout));
  });
});

describe('the launcher finds itself', () => {
  it('by a relative path, from any folder', async () => {
    expect(await launch('bin/meshnode', { cwd: root })).toMatchObject(works);
    expect(await launch('./meshnode', { cwd: join(root, 'bin') })).toMatchObject(works);
    expect(await launch(relative('/usr', meshnodeProgram), { cwd: '/usr' })).toMatchObject(works);
  });

  it('through links, relative ones and ones to others', async () => {
    const checkout = await tree({ dist: true });
    const bin = join(dirname(checkout), 'links/.bin');
    await mkdir(bin, { recursive: true });
    await symlink('../../tree/bin/meshnode', join(bin, 'meshnode'));
    await symlink(join(bin, 'meshnode'), join(folder, 'elsewhere'));
    expect(await launch(join(bin, 'meshnode'))).toMatchObject(works);
    expect(await launch('./elsewhere')).toMatchObject(works);
    // As a name on the PATH.
    expect(await launch('meshnode', { path: `${bin}:${process.env['PATH']}` })).toMatchObject(works);
  });

  it('in a folder with spaces and quotes in its name', async () => {
    const checkout = await tree({ dist: true }, `a "b" 'c' $d`);
    expect(await launch(join(checkout, 'bin/meshnode'))).toMatchObject(works);
    expect(await launch('bin/meshnode', { cwd: checkout })).toMatchObject(works);
  });

  it('whatever CDPATH says', async () => {
    const environment = { CDPATH: root };
    expect(await launch('bin/meshnode', { cwd: root, environment })).toMatchObject(works);
  });
});

describe('the launched process', () => {
  it('is the node itself: kill -9 leaves nothing', async () => {
    const node = await startNode([]);
    onTestFinished(() => node.stop('SIGKILL'));
    const card = JSON.parse(await readFile(join(node.home, 'run.json'), 'utf8'));
    expect(card.pid).toBe(node.process.pid);
    const tree = await processTree(node.process.pid);
    await node.process.stop('SIGKILL');
    await allGone(tree, 3_000);
  });

  it('gives its exit code, and its arguments unharmed', async () => {
    const wild = `it's "odd" $HOME \`id\` *`;
    const outcome = new StartedProcess(meshnodeProgram, ['config', 'get', wild, '--json']);
    expect(await outcome.exited).toBe(2);
    expect(outcome.lines.at(-1)).toMatchObject({ event: 'error', message: expect.stringContaining(wild) });
  });
});
