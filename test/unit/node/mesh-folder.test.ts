// What the data folder keeps of a mesh: private, whole or refused with the file's name, and forgotten when told.
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { MeshFolder, type SavedMembership } from '../../../src/node/mesh-folder.ts';
import { seededRandom, systemRandom } from '../../../src/util/random.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { rejectionOf } from '../../support/thrown.ts';

const path = await temporaryFolder();
const folder = new MeshFolder(path);

const saved: SavedMembership = {
  meshId: 'ab'.repeat(32),
  memory: {
    epoch: 7,
    hasJoined: true,
    certificate: systemRandom.bytes(300),
    formers: [systemRandom.bytes(200)],
    proofs: [systemRandom.bytes(10), systemRandom.bytes(0)],
    peers: [{ peerId: '12D3KooW', addresses: ['/ip4/192.0.2.1/tcp/1'] }],
  },
};

describe('the folder of a mesh', () => {
  it('makes the identity of the node once', async () => {
    const first = await folder.identity(seededRandom(1));
    expect(first).toHaveLength(32);
    expect(await folder.identity(seededRandom(2))).toEqual(first);
  });

  it('keeps the membership as it was', async () => {
    expect(await folder.membership()).toBeUndefined();
    await folder.saveMembership(saved);
    expect(await folder.membership()).toEqual(saved);
  });

  it('keeps the mesh key and the port', async () => {
    const seed = systemRandom.bytes(32);
    expect([await folder.meshKey(), await folder.listenPort()]).toEqual([undefined, undefined]);
    await folder.saveMeshKey(seed);
    await folder.saveListenPort(9340);
    expect([await folder.meshKey(), await folder.listenPort()]).toEqual([seed, 9340]);
  });

  it('lets nobody else read any of it', async () => {
    for (const name of await readdir(path)) {
      expect((await stat(join(path, name))).mode & 0o777, name).toBe(0o600);
    }
  });

  it.each([
    ['identity.key', 'short', () => folder.identity(systemRandom)],
    ['identity.key', '', () => folder.identity(systemRandom)],
    ['mesh.key', '?'.repeat(43), () => folder.meshKey()],
    ['mesh.json', '{"meshId":', () => folder.membership()],
    ['mesh.json', '{}', () => folder.membership()],
    ['mesh.json', JSON.stringify({ ...saved.memory, meshId: 'x' }), () => folder.membership()],
  ])('names the file if %s holds %j', async (name, content, read) => {
    const before = await readFile(join(path, name));
    await writeFile(join(path, name), content);
    const error = await rejectionOf(read());
    await writeFile(join(path, name), before);
    expect(error).toMatchObject({ code: 'config_invalid' });
    expect(error.message).toContain(join(path, name));
    expect(error.hint).toMatch(/copy/);
  });

  it('forgets the mesh but not who the node is', async () => {
    const identity = await folder.identity(systemRandom);
    expect(await folder.holds()).toEqual({ membership: true, meshKey: true });
    for (const name of ['mesh.key', 'mesh.json', 'identity.key']) {
      await writeFile(join(path, `${name}.4711.new`), 'what a crash left');
    }
    await folder.forgetMesh();
    expect(await folder.holds()).toEqual({ membership: false, meshKey: false });
    expect((await readdir(path)).filter((name) => name.startsWith('mesh.'))).toEqual([]);
    expect(await folder.identity(systemRandom)).toEqual(identity);
  });
});
