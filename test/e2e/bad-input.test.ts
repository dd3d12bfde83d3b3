// What a node cannot start with: each is one sentence with its way out on standard error, an `error` event
// for programs, and an exit code; nothing stays behind.
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, readFile, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, test } from 'vitest';
import {
  meshnodeProgram,
  type ProcessOptions,
  runMeshnode,
  type StartedNode,
  StartedProcess,
  startNode,
} from '../support/started-process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const parent = await temporaryFolder();
const freshFolder = () => mkdtemp(join(parent, 'home-'));

interface Refusal {
  readonly exitCode: number;
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

/** The refusal that both outputs tell in the same words. */
function refusalIn(outcome: { exitCode: number | string; stdout: string; stderr: string }): Refusal {
  const lastLine = outcome.stdout.trimEnd().split('\n').at(-1) ?? '';
  const { time, event, code, message, hint } = JSON.parse(lastLine);
  expect(event).toBe('error');
  expect(Date.parse(time)).not.toBeNaN();
  expect(outcome.stderr).toBe(`meshnode: ${message}\n  ${hint}\n`);
  expect(message).toMatch(/^\S.*[.)]$/);
  return { exitCode: Number(outcome.exitCode), code, message, hint };
}

async function refused(flags: readonly string[], options?: ProcessOptions): Promise<Refusal> {
  const home = await freshFolder();
  const anyPorts = ['--port', '0', '--console-port', '0', '--data-dir', home];
  return refusalIn(await runMeshnode(['serve', '--json', ...anyPorts, ...flags], options));
}

async function start(flags: readonly string[], options?: ProcessOptions): Promise<StartedNode> {
  const node = await startNode(flags, options);
  onTestFinished(() => node.stop('SIGKILL'));
  return node;
}

describe('a port that another program has', () => {
  test.each(['--port', '--console-port'])('is refused for %s', async (flag) => {
    const other = createServer().listen(0, '127.0.0.1');
    onTestFinished(() => void other.close());
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    const refusal = await refused([flag, String(port)]);
    expect(refusal).toMatchObject({ exitCode: 69, code: 'port_in_use' });
    expect(refusal.message).toContain(String(port));
  });
});

describe('a data folder', () => {
  it('that another node has is refused with its process and its addresses', async () => {
    const first = await start([]);
    const { url } = await first.process.event('console');
    const refusal = await refused(['--data-dir', first.home]);
    expect(refusal).toMatchObject({ exitCode: 69, code: 'data_dir_in_use' });
    for (const wanted of [first.home, String(first.process.pid), first.apiUrl, String(url)]) {
      expect(refusal.message).toContain(wanted);
    }
    expect((await fetch(`${first.origin}/health`)).status).toBe(200);
    expect(JSON.parse(await readFile(join(first.home, 'run.json'), 'utf8'))).toMatchObject({
      pid: first.process.pid,
    });
  });

  it('that is a file is refused, also if only a part of the path is', async () => {
    const file = join(await freshFolder(), 'file');
    await writeFile(file, 'precious');
    for (const path of [file, join(file, 'below')]) {
      const refusal = await refused(['--data-dir', path]);
      expect(refusal).toMatchObject({ exitCode: 69, code: 'data_dir_unwritable' });
      expect(refusal.message).toContain(path);
    }
    expect(await readFile(file, 'utf8')).toBe('precious');
  });

  it.skipIf(process.platform !== 'linux')('below which the system makes no folders is refused', async () => {
    expect(await refused(['--data-dir', '/proc/meshnode'])).toMatchObject({
      exitCode: 69,
      code: 'data_dir_unwritable',
    });
  });

  it.skipIf(process.getuid?.() === 0)('that may not be written to is refused', async () => {
    const folder = await freshFolder();
    await mkdir(join(folder, 'home'), { mode: 0o500 });
    await chmod(folder, 0o500);
    onTestFinished(() => chmod(folder, 0o700));
    expect(await refused(['--data-dir', join(folder, 'below')])).toMatchObject({
      exitCode: 69,
      code: 'data_dir_unwritable',
    });
  });
});

/** Mounting wants root and a system that lets it; elsewhere data-folder.test.ts injects the same failures. */
function canMount(): boolean {
  try {
    execFileSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

describe.skipIf(!canMount())('a data folder on a disk of its own', () => {
  /** Starts a node on a fresh file system, seen by this process only. */
  async function startOn(mountOptions: string, prepare: string): Promise<StartedProcess> {
    const home = await freshFolder();
    const script = `mount -t tmpfs -o ${mountOptions} tmpfs "$1" && ${prepare} && shift && exec "$@"`;
    const flags = ['serve', '--json', '--port', '0', '--console-port', '0', '--data-dir', home];
    const shell = ['-m', 'sh', '-c', script, 'sh', home, meshnodeProgram, ...flags];
    const started = new StartedProcess('unshare', shell);
    onTestFinished(() => void started.child.kill('SIGKILL'));
    return started;
  }
  async function outcomeOf(started: StartedProcess) {
    const exitCode = await started.exited;
    return { exitCode, stdout: started.stdout, stderr: started.stderr };
  }

  it('that is read-only is refused', async () => {
    const refusal = refusalIn(await outcomeOf(await startOn('ro', 'true')));
    expect(refusal).toMatchObject({ exitCode: 69, code: 'data_dir_unwritable' });
    expect(refusal.message).toContain('read-only');
  });

  it('that is full is refused', async () => {
    const refusal = refusalIn(
      await outcomeOf(await startOn('size=4k', 'head -c 4096 /dev/zero > "$1/ballast"')),
    );
    expect(refusal).toMatchObject({ exitCode: 1, code: 'disk_full' });
  });

  it('that gets full while the node starts is refused by name, or served from', async () => {
    const outcomes: string[] = [];
    for (const pages of [2, 4, 5, 6, 7, 9]) {
      const started = await startOn(`size=${4 * pages}k`, 'true');
      const end = await Promise.race([started.exited, started.event('ready')]);
      if (end === 1) {
        expect(started.lines.at(-1)).toMatchObject({ event: 'error', code: 'disk_full' });
        outcomes.push('refused');
      } else {
        const { url } = await started.event('api');
        expect((await fetch(`${String(url)}/models`)).status).toBe(200);
        expect(await started.stop()).toBe(0);
        outcomes.push('served');
      }
    }
    expect(outcomes).toContain('refused');
    expect(outcomes.at(-1)).toBe('served');
  });
});

describe('a configuration', () => {
  it('that is no TOML, or has a wrong value, is refused with its line', async () => {
    const home = await freshFolder();
    const file = join(home, 'config.toml');
    for (const [text, line] of [
      ['# mine\nport = = 1\n', 2],
      ['\n\nport = "many"\n', 3],
    ] as const) {
      await writeFile(file, text);
      const refusal = await refused(['--data-dir', home]);
      expect(refusal).toMatchObject({ exitCode: 2, code: 'config_invalid' });
      expect(refusal.message).toContain(`${file}:${line}`);
    }
    // Nothing was begun.
    expect(await readdir(home)).toEqual(['config.toml']);
  });

  test.each([
    { flags: ['--modell', 'demo'], says: '--modell' },
    { flags: ['--max-vram', '10XB'], says: '--max-vram' },
    { flags: ['--port', '65536'], says: '--port' },
    { flags: ['--attach', 'ftp://127.0.0.1'], says: '--attach' },
    { flags: ['stray'], says: 'arguments' },
  ])('with $flags is refused as wrong usage', async ({ flags, says }) => {
    const refusal = await refused(flags);
    expect(refusal).toMatchObject({ exitCode: 2, code: 'usage' });
    expect(refusal.message).toContain(says);
  });

  it('with a model that nobody knows is refused with the likely one', async () => {
    const refusal = await refused(['--model', 'dmeo']);
    expect(refusal).toMatchObject({ exitCode: 2, code: 'model_ref_invalid' });
    expect(refusal.message).toContain('dmeo');
    expect(refusal.hint).toContain('`demo`');
  });

  it('that opens the API to others needs a key, which they must then show', async () => {
    expect(await refused(['--host', '0.0.0.0'])).toMatchObject({ exitCode: 2, code: 'key_required' });
    const unsendable = await refused([], { environment: { MESHNODE_API_KEY: 'a key with spaces' } });
    expect(unsendable).toMatchObject({ exitCode: 2, code: 'config_invalid' });
    expect(unsendable.message).not.toContain('a key');
    const key = 'a-key-of-enough-length';
    const node = await start(['--host', '0.0.0.0'], { environment: { MESHNODE_API_KEY: key } });
    expect(node.origin).toMatch(/^http:\/\/127\.0\.0\.1:/);
    const models = (headers: Record<string, string>) => fetch(`${node.apiUrl}/models`, { headers });
    expect((await models({})).status).toBe(401);
    expect((await models({ authorization: 'Bearer another-key-of-length' })).status).toBe(401);
    expect((await models({ authorization: `Bearer ${key}` })).status).toBe(200);
    expect((await fetch(`${node.origin}/health`)).status).toBe(200);
    expect(node.process.stdout + node.process.stderr).not.toContain(key);
  });
});
