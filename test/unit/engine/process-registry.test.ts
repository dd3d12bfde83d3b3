import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openProcessRegistry, type ProcessSystem } from '../../../src/engine/process-registry.ts';
import { engineLimits } from '../../../src/util/limits/engine.ts';
import { silentLogger } from '../../../src/util/logging.ts';
import { ManualClock } from '../../support/manual-clock.ts';

/** A system whose processes are a table; killing removes from it. */
class FakeSystem implements ProcessSystem {
  readonly ownPid = 100;
  readonly killed: number[] = [];
  readonly processes: Map<number, string>;

  constructor(processes: Record<number, string>) {
    this.processes = new Map(Object.entries(processes).map(([pid, identity]) => [Number(pid), identity]));
  }

  async identify(pid: number): Promise<string | undefined> {
    return this.processes.get(pid);
  }

  killGroup(pid: number): void {
    this.killed.push(pid);
    this.processes.delete(pid);
  }
}

let folder: string;
let file: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'meshnode-test-'));
  file = path.join(folder, 'processes.json');
});
afterEach(() => rm(folder, { recursive: true }));

const open = (system: ProcessSystem) =>
  openProcessRegistry({ path: file, clock: new ManualClock(), log: silentLogger, system });

const leftByLastNode = (processes: object[], owner: object = { pid: 50, identity: 'old-node' }) =>
  writeFile(file, JSON.stringify({ owner, processes }));

const written = async (): Promise<unknown> => JSON.parse(await readFile(file, 'utf8'));

describe('the sweep', () => {
  test('ends what a dead node left running', async () => {
    await leftByLastNode([
      { pid: 200, identity: 'a', name: 'one' },
      { pid: 201, identity: 'b', name: 'two' },
    ]);
    const system = new FakeSystem({ 100: 'new-node', 200: 'a', 201: 'b' });
    await open(system);
    expect(system.killed).toEqual([200, 201]);
    expect(await written()).toEqual({ owner: { pid: 100, identity: 'new-node' }, processes: [] });
  });

  test('spares a process that was given the id of one that is gone', async () => {
    await leftByLastNode([{ pid: 200, identity: 'a', name: 'one' }]);
    const system = new FakeSystem({ 100: 'new-node', 200: 'somebody-else' });
    await open(system);
    expect(system.killed).toEqual([]);
  });

  test('spares the processes of a node that still lives', async () => {
    await leftByLastNode([{ pid: 200, identity: 'a', name: 'one' }]);
    const system = new FakeSystem({ 50: 'old-node', 100: 'new-node', 200: 'a' });
    await open(system);
    expect(system.killed).toEqual([]);
  });

  test('takes a reused id of the last node for what it is', async () => {
    await leftByLastNode([{ pid: 200, identity: 'a', name: 'one' }]);
    const system = new FakeSystem({ 50: 'somebody-else', 100: 'new-node', 200: 'a' });
    await open(system);
    expect(system.killed).toEqual([200]);
  });

  test.each([
    ['nothing', ''],
    ['no JSON', '{"owner":'],
    ['another shape', '{"processes":[{"pid":"200"}]}'],
    ['a group that would be everybody', leftover(1)],
    ['a group that would be our own', leftover(0)],
    ['a negative id', leftover(-200)],
    ['far too much', `${leftover(200)}${' '.repeat(engineLimits.recordedProcessesBytes)}x`],
  ])('reads a file that holds %s and kills nobody', async (_what, content) => {
    await writeFile(file, content);
    const system = new FakeSystem({ 0: 'a', 1: 'a', 100: 'new-node', [-200]: 'a' });
    await open(system);
    expect(system.killed).toEqual([]);
    expect(await written()).toMatchObject({ processes: [] });
  });
});

function leftover(pid: number): string {
  return JSON.stringify({
    owner: { pid: 50, identity: 'old' },
    processes: [{ pid, identity: 'a', name: 'x' }],
  });
}

describe('the record', () => {
  test('is readable by its owner only', async () => {
    await open(new FakeSystem({ 100: 'node' }));
    expect((await stat(file)).mode & 0o777).toBe(0o600);
  });

  test('holds what runs, and never a process that ended before it could be identified', async () => {
    const registry = await open(new FakeSystem({ 100: 'node', 200: 'a', 201: 'b' }));
    registry.add(200, 'one');
    registry.add(201, 'two');
    registry.remove(201);
    registry.add(999, 'gone');
    await registry.written();
    expect(await written()).toMatchObject({ processes: [{ pid: 200, identity: 'a', name: 'one' }] });
    registry.remove(200);
    await registry.written();
    expect(await written()).toMatchObject({ processes: [] });
  });

  test('is bounded', async () => {
    const pids = Array.from({ length: engineLimits.recordedProcesses + 10 }, (_, index) => 1_000 + index);
    const registry = await open(
      new FakeSystem(Object.fromEntries(pids.map((pid) => [pid, `identity-${pid}`]))),
    );
    for (const pid of pids) {
      registry.add(pid, 'x'.repeat(200));
    }
    await registry.written();
    expect(await written()).toHaveProperty('processes.length', engineLimits.recordedProcesses);
    expect((await stat(file)).size).toBeLessThan(engineLimits.recordedProcessesBytes);
  });

  test('that cannot be written does not stop the node', async () => {
    const registry = await openProcessRegistry({
      path: path.join(folder, 'no', 'such', 'folder.json'),
      clock: new ManualClock(),
      log: silentLogger,
      system: new FakeSystem({ 100: 'node', 200: 'a' }),
    });
    registry.add(200, 'one');
    await expect(registry.written()).resolves.toBeUndefined();
  });
});
