// Five real nodes in one mesh, over each transport alone: one table everywhere, also after their inviter is gone.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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
