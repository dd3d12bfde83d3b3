// Five real nodes in one mesh, over each transport alone: one table everywhere, also after their inviter is gone.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PeerView, PingView } from '../../src/console/mesh-port.ts';
import type { NodeStatus } from '../../src/console/status.ts';
import { MeshProcess, type Path } from '../support/mesh-process.ts';

/** Each row of every table is the same but for who looks: a node does not list itself. */
async function seeTheSame(members: readonly MeshProcess[]): Promise<void> {
  await Promise.all(members.map((member) => member.shows(members.filter((other) => other !== member))));
  const tables = await Promise.all(members.map((member) => member.table()));
  for (const member of members) {
    const rows = tables.flat().filter(({ peerId }) => peerId === member.peerId);
    expect(new Set(rows.map((row) => JSON.stringify(row))).size).toBe(1);
    expect(rows).toHaveLength(members.length - 1);
  }
}

/** What tells one member from another. */
interface Named {
  readonly peerId: string;
  readonly name: string;
}

function named({ peerId, name }: Named): Named {
  return { peerId, name };
}

function byPeerId(a: Named, b: Named): number {
  return a.peerId < b.peerId ? -1 : 1;
}

/** The member itself by `meshnode status --json`, the others by `meshnode peers --json`. */
async function membersForPrograms(at: MeshProcess): Promise<Named[]> {
  const [[status], peers] = await Promise.all([at.json<NodeStatus>('status'), at.json<PeerView>('peers')]);
  expect(status?.mesh).toMatchObject({ state: 'member', members: peers.length + 1 });
  expect(new Set(peers.map(({ state }) => state))).toEqual(new Set(['joined']));
  const self = status === undefined ? [] : [status];
  return [...self, ...peers].map(named).sort(byPeerId);
}

/** The same by what the two commands print for people, where ids are short. */
async function membersForPeople(at: MeshProcess): Promise<Named[]> {
  const [status, peers] = await Promise.all([at.run('status'), at.run('peers')]);
  const rows = tableRows(peers.stdout);
  expect(new Set(rows.map((row) => row['STATE']))).toEqual(new Set(['joined']));
  expect(status.stdout).toMatch(new RegExp(`^Mesh [^\n]+ member +${rows.length + 1} members alive`, 'm'));
  const name = /^(\S+) · meshnode/.exec(status.stdout)?.[1] ?? '';
  const peerId = /^Peer (\S+)$/m.exec(status.stdout)?.[1] ?? '';
  const others = rows.map((row) => ({ peerId: row['PEER'] ?? '', name: row['NAME'] ?? '' }));
  return [{ peerId, name }, ...others].map(shortened).sort(byPeerId);
}

function shortened({ peerId, name }: Named): Named {
  return { peerId: peerId.slice(-8), name };
}

/** The rows of a table as it is printed, by its headers. */
function tableRows(text: string): Record<string, string>[] {
  const [header = [], ...rows] = text
    .trimEnd()
    .split('\n')
    .map((line) => line.split(/ {2,}/));
  return rows.map((cells) => Object.fromEntries(header.map((title, column) => [title, cells[column] ?? ''])));
}

describe.each<Path>(['quic', 'tcp'])('five nodes over %s', (path) => {
  const flags = ['--transport', path];
  let founder: MeshProcess;
  const others: MeshProcess[] = [];

  beforeAll(async () => {
    founder = await MeshProcess.started('ada', ...flags);
    const token = String((await founder.process.event('invite'))['token']);
    for (const name of ['bee', 'cat', 'dog', 'eel']) {
      others.push(await MeshProcess.started(name, ...flags, '--join', token));
    }
  });
  afterAll(async () => {
    await Promise.all([founder, ...others].map((member) => member?.discard()));
    others.length = 0;
  });

  it('join by one token, see the same table, and talk over that transport alone', async () => {
    const members = [founder, ...others];
    await seeTheSame(members);
    for (const member of members) {
      const peers = await member.peers();
      const used = peers.flatMap(({ paths }) => paths.map((link) => link.path));
      expect(new Set(used)).toEqual(new Set([path]));
    }
  });

  it('name the same five members, each by the commands `status` and `peers`', async () => {
    const members = [founder, ...others];
    const all = members.map(named).sort(byPeerId);
    const allShortened = all.map(shortened).sort(byPeerId);
    for (const member of members) {
      const told = await Promise.all([membersForPrograms(member), membersForPeople(member)]);
      expect(told).toEqual([all, allShortened]);
    }
  });

  it('measure the way to each other by the command `ping`', async () => {
    const [bee] = others;
    const { peerId = '', name = '' } = bee ?? {};
    const [measured, ...rest] = await founder.json<PingView>('ping', name, '--count', '5');
    expect(rest).toEqual([]);
    expect(measured).toMatchObject({ peerId, name, count: 5, paths: [{ path }] });
    const { rttMs, bytesPerSecond } = measured?.paths[0] ?? {};
    expect(rttMs?.least).toBeGreaterThan(0);
    expect(rttMs?.p50).toBeGreaterThanOrEqual(rttMs?.least ?? Number.NaN);
    expect(rttMs?.most).toBeGreaterThanOrEqual(rttMs?.p50 ?? Number.NaN);
    // On one machine, however busy; a figure in another unit would be far from that.
    expect(rttMs?.p50).toBeLessThan(1_000);
    expect(bytesPerSecond).toBeGreaterThan(1e6);
    expect(bytesPerSecond).toBeLessThan(1e11);

    const { stdout, exitCode } = await founder.run('ping', peerId.slice(-8), '--count', '2');
    expect(exitCode).toBe(0);
    const [title, ...table] = stdout.split('\n');
    expect(title).toBe(`${name} · ${peerId}`);
    const rows = tableRows(table.join('\n'));
    expect(rows).toMatchObject([
      {
        PATH: path,
        'RTT P50': expect.stringMatching(/^\d+\.\d\d ms$/),
        'MB/S': expect.stringMatching(/^[1-9]\d*$/),
      },
    ]);
    expect(Number.parseFloat(rows[0]?.['RTT P50'] ?? '')).toBeGreaterThan(0);
  });

  it('come back while their inviter is down', async () => {
    await founder.stop();
    const [bee, ...rest] = others;
    await bee?.stop();
    await bee?.start(...flags);
    await Promise.all(
      others.map(async (member) => {
        const table = async () => (await member.table()).filter(({ state }) => state === 'joined');
        const wanted = others.filter((other) => other !== member).map(({ peerId }) => peerId);
        await expect
          .poll(async () => (await table()).map(({ peerId }) => peerId), { timeout: 20_000, interval: 100 })
          .toEqual(wanted.sort());
      }),
    );
    expect(rest).toHaveLength(3);
    await founder.start(...flags);
    await seeTheSame([founder, ...others]);
  });
});
