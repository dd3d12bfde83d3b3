// The data folder: whose it is, what it keeps, and what is said when it cannot be used.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fileSystem from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type FolderFiles, findRunningNode, openDataFolder } from '../../../src/node/data-folder.ts';
import { systemRandom } from '../../../src/util/random.ts';
import { rejectionOf } from '../../support/thrown.ts';

const random = systemRandom;
const card = {
  pid: process.pid,
  startedAt: '2026-01-01T00:00:00.000Z',
  version: '1.0.0',
  apiUrl: 'http://127.0.0.1:9337',
  consoleUrl: 'http://127.0.0.1:3131',
};

let parent: string;
let path: string;

beforeEach(async () => {
  parent = await fileSystem.mkdtemp(join(tmpdir(), 'meshnode-data-'));
  path = join(parent, 'node', 'data');
});
afterEach(() => fileSystem.rm(parent, { recursive: true }));

describe('a data folder', () => {
  it('is made for its owner only, with its secrets', async () => {
    const folder = await openDataFolder(path, { random });
    expect(folder.consoleToken).toMatch(/^[0-9a-f]{64}$/);
    const modeOf = async (name: string): Promise<number> =>
      (await fileSystem.stat(join(path, name))).mode & 0o777;
    expect(await modeOf('.')).toBe(0o700);
    expect(await modeOf('console-token')).toBe(0o600);
    await folder.close();
  });

  it('keeps the node’s token over restarts', async () => {
    const first = await openDataFolder(path, { random });
    await first.close();
    const second = await openDataFolder(path, { random });
    expect(second.consoleToken).toBe(first.consoleToken);
    await second.close();
  });

  it('tells a second node who has it, and where that one answers', async () => {
    const folder = await openDataFolder(path, { random });
    const early = await rejectionOf(openDataFolder(path, { random }));
    expect(early).toMatchObject({ code: 'data_dir_in_use' });
    await folder.announce(card);
    const error = await rejectionOf(openDataFolder(path, { random }));
    expect(error.code).toBe('data_dir_in_use');
    expect(error.message).toContain(String(process.pid));
    expect(error.message).toContain(card.apiUrl);
    expect(error.message).toContain(card.consoleUrl);
    expect(error.details.data).toMatchObject({ pid: process.pid, apiUrl: card.apiUrl });
    await folder.close();
  });

  it('leads the command line to the node that runs on it', async () => {
    expect((await rejectionOf(findRunningNode(path))).code).toBe('node_not_running');
    const folder = await openDataFolder(path, { random });
    await folder.announce(card);
    expect(await findRunningNode(path)).toEqual({ card, consoleToken: folder.consoleToken });
    await folder.close();
    expect((await rejectionOf(findRunningNode(path))).code).toBe('node_not_running');
  });

  it('is not taken for that of a running node when the node was killed and left its card', async () => {
    const gone = spawn(process.execPath, ['--version'], { stdio: 'ignore' });
    await once(gone, 'exit');
    const folder = await openDataFolder(path, { random });
    await folder.announce({ ...card, pid: gone.pid ?? 0 });
    expect((await rejectionOf(findRunningNode(path))).code).toBe('node_not_running');
    await folder.close();
  });

  it('is free again when its node was killed', async () => {
    const program = `
      import { openDataFolder } from ${JSON.stringify(join(import.meta.dirname, '../../../src/node/data-folder.ts'))};
      import { systemRandom } from ${JSON.stringify(join(import.meta.dirname, '../../../src/util/random.ts'))};
      const folder = await openDataFolder(process.env.FOLDER, { random: systemRandom });
      await folder.announce({ pid: process.pid, startedAt: 'now', version: '1' });
      process.stdout.write('open\\n');
      process.stdin.resume();
    `;
    const child = spawn(process.execPath, ['--input-type=module-typescript', '--eval', program], {
      env: { ...process.env, FOLDER: path },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    try {
      await once(createInterface(child.stdout), 'line');
      const error = await rejectionOf(openDataFolder(path, { random }));
      expect(error.message).toContain(String(child.pid));
    } finally {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    const folder = await openDataFolder(path, { random });
    // What the dead node said of itself is gone too.
    expect((await rejectionOf(findRunningNode(path))).code).toBe('node_not_running');
    await folder.close();
  });
});

describe('a folder that cannot be used', () => {
  const failing = (code: string, operation: keyof FolderFiles): FolderFiles => ({
    ...fileSystem,
    [operation]: async () => {
      throw Object.assign(new Error(`${code}: refused`), { code });
    },
  });

  it.each([
    { code: 'EROFS', operation: 'mkdir', expected: 'data_dir_unwritable', says: 'read-only' },
    { code: 'EACCES', operation: 'mkdir', expected: 'data_dir_unwritable', says: 'may not write' },
    { code: 'EPERM', operation: 'chmod', expected: 'data_dir_unwritable', says: 'may not write' },
    { code: 'EACCES', operation: 'writeFile', expected: 'data_dir_unwritable', says: 'may not write' },
    { code: 'EIO', operation: 'writeFile', expected: 'data_dir_unwritable', says: 'EIO' },
    { code: 'ENOSPC', operation: 'writeFile', expected: 'disk_full', says: 'no space' },
    { code: 'EDQUOT', operation: 'rename', expected: 'disk_full', says: 'no space' },
  ] as const)('$code while it does $operation is $expected', async ({ code, operation, expected, says }) => {
    const error = await rejectionOf(openDataFolder(path, { random, files: failing(code, operation) }));
    expect(error.code).toBe(expected);
    expect(error.message).toContain(says);
    expect(error.message).toContain(path);
    expect(error.hint).toContain('--data-dir');
  });

  it('is not locked by the attempt', async () => {
    await rejectionOf(openDataFolder(path, { random, files: failing('ENOSPC', 'rename') }));
    await (await openDataFolder(path, { random })).close();
  });

  it('is refused if a file lies in its way', async () => {
    await fileSystem.writeFile(join(parent, 'node'), '');
    const error = await rejectionOf(openDataFolder(path, { random }));
    expect(error).toMatchObject({ code: 'data_dir_unwritable' });
    expect(error.message).toContain('not a folder');
  });

  it.skipIf(process.getuid?.() === 0)('is refused if it may not be written to', async () => {
    await fileSystem.chmod(parent, 0o500);
    try {
      expect((await rejectionOf(openDataFolder(path, { random }))).code).toBe('data_dir_unwritable');
    } finally {
      await fileSystem.chmod(parent, 0o700);
    }
  });
});
