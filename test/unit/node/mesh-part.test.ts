// Nodes' parts in a mesh, in this process over loopback: what they keep, tell and do, and what a failed join leaves.

import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { Dispatcher, type ServedModels } from '../../../src/dispatch/dispatch.ts';
import { noFacts } from '../../../src/mesh/record.ts';
import { encodeRecord } from '../../../src/mesh/record-codec.ts';
import { EventLog, type NodeEvent } from '../../../src/node/events.ts';
import { MeshDesk } from '../../../src/node/mesh-desk.ts';
import { MeshFolder } from '../../../src/node/mesh-folder.ts';
import { MeshPart, type MeshPartInit } from '../../../src/node/mesh-part.ts';
import { seal } from '../../../src/trust/envelope.ts';
import { KeyPair } from '../../../src/trust/keys.ts';
import { type Clock, systemClock } from '../../../src/util/clock.ts';
import type { MeshnodeError } from '../../../src/util/errors.ts';
import { silentLogger } from '../../../src/util/logging.ts';
import { systemRandom } from '../../../src/util/random.ts';
import { rejectionOf, thrownBy } from '../../support/thrown.ts';

interface Node {
  readonly path: string;
  readonly part: MeshPart;
  readonly desk: MeshDesk;
  readonly heard: NodeEvent[];
  readonly conflicts: MeshnodeError[];
  readonly left: string[];
  start(): Promise<void>;
}

const nodes: Node[] = [];
const paths: string[] = [];
afterEach(async () => {
  await Promise.all(nodes.splice(0).map(({ part }) => part.stop()));
  await Promise.all(paths.splice(0).map((path) => rm(path, { recursive: true })));
});

interface Setup {
  readonly name?: string;
  readonly token?: string;
  readonly path?: string;
  readonly config?: Partial<MeshPartInit['config']>;
  readonly clock?: Clock;
}

/** What a node serves that has no model. */
const nothing: ServedModels = { served: () => [], onChange: () => () => {} };

/** A part that is not started yet. */
async function prepare(setup: Setup = {}): Promise<Node> {
  const path = setup.path ?? (await mkdtemp(join(tmpdir(), 'meshnode-part-')));
  paths.push(...(paths.includes(path) ? [] : [path]));
  const folder = new MeshFolder(path);
  const clock = setup.clock ?? systemClock;
  const identity = KeyPair.fromSeed(await folder.identity(systemRandom));
  const events = new EventLog(clock, silentLogger);
  const heard: NodeEvent[] = [];
  events.follow(({ event }) => heard.push(event));
  const conflicts: MeshnodeError[] = [];
  const left: string[] = [];
  const part = await MeshPart.prepare({
    config: {
      client: false,
      listenPort: 0,
      bind: '127.0.0.1',
      transport: 'all',
      announce: [],
      ...setup.config,
    },
    token: setup.token,
    folder,
    identity,
    facts: () => ({
      name: setup.name ?? 'node',
      version: '1.0.0',
      hardware: undefined,
      bandwidthBytes: undefined,
      rpcBuild: undefined,
      models: [],
      demand: [],
      served: [],
    }),
    dispatch: new Dispatcher({ clock, log: silentLogger, serving: nothing, peer: setup.name ?? 'node' }),
    events,
    onConflict: (error) => conflicts.push(error),
    clock,
    random: systemRandom,
    log: silentLogger,
  });
  const desk = new MeshDesk(part, {
    ...{ identity, clock, random: systemRandom },
    models: () => [],
    onLeft: () => left.push(path),
  });
  const start = () => part.start(new AbortController().signal);
  const node = { path, part, desk, heard, conflicts, left, start };
  nodes.push(node);
  return node;
}

async function started(setup: Setup = {}): Promise<Node> {
  const node = await prepare(setup);
  await node.start();
  return node;
}

const never = new AbortController().signal;
const invitation = { role: 'serve', ttlMs: 60_000, uses: 5, strict: false } as const;

/** The founder of a mesh and one that joined it, each knowing the other. */
async function pair(): Promise<{ ada: Node; bee: Node; token: string }> {
  const ada = await started({ name: 'ada' });
  const { token } = ada.desk.invite(invitation);
  const bee = await started({ name: 'bee', token });
  await seen(ada, 'bee', 'joined');
  await seen(bee, 'ada', 'joined');
  return { ada, bee, token };
}

/** Waits until a node has told that a peer is so. */
const seen = (node: Node, name: string, state: string) =>
  expect
    .poll(() => node.heard, { timeout: 10_000, interval: 20 })
    .toContainEqual(expect.objectContaining({ event: 'peer', name, state }));

describe('a founder', () => {
  it('says who it is once it listens, and keeps its mesh', async () => {
    const ada = await started({ name: 'ada' });
    expect(ada.heard[0]).toMatchObject({
      event: 'node',
      meshId: ada.part.meshId,
      role: 'admin',
      addresses: ada.part.fullAddresses(),
    });
    expect(ada.desk.status()).toMatchObject({ state: 'member', members: 1, holdsMeshKey: true });
    await expect.poll(() => readdir(ada.path)).toEqual(expect.arrayContaining(['mesh.json', 'mesh.key']));
    const meshId = ada.part.meshId;
    await ada.part.stop();
    const again = await started({ path: ada.path });
    expect([again.part.meshId, again.part.role]).toEqual([meshId, 'admin']);
  });

  it('does not listen, and is not kept, if its port is taken', async () => {
    const ada = await started();
    const port = Number(ada.part.fullAddresses()[0]?.split('/')[4]);
    const other = await prepare({ config: { listenPort: port } });
    expect(await rejectionOf(other.start())).toMatchObject({ code: 'port_in_use' });
    expect(await readdir(other.path)).toEqual(['identity.key']);
  });
});

describe('a node that joins', () => {
  it('and its inviter show each other, with how far away they are', async () => {
    const { ada, bee } = await pair();
    expect(await ada.desk.peers()).toMatchObject([
      {
        name: 'bee',
        role: 'serve',
        state: 'joined',
        rttMs: expect.any(Number),
        paths: [{ direction: 'inbound' }],
      },
    ]);
    expect(await bee.desk.peers()).toMatchObject([
      { name: 'ada', role: 'admin', paths: [{ direction: 'outbound' }] },
    ]);
    const { peerId, paths: measured } = await bee.desk.ping(
      { peer: 'ada', count: 3, throughput: true },
      never,
    );
    expect(peerId).toBe(ada.part.parts.network.peerId);
    expect(measured[0]?.rttMs.p50).toBeLessThan(1000);
    expect(measured[0]?.bytesPerSecond).toBeGreaterThan(0);
  });

  it('leaves nothing behind if nobody is there', async () => {
    const ada = await started();
    const { token } = ada.desk.invite(invitation);
    await ada.part.stop();
    const bee = await prepare({ token });
    expect(await rejectionOf(bee.start())).toMatchObject({ code: 'join_failed', kind: { exitCode: 69 } });
    expect(await readdir(bee.path)).toEqual(['identity.key']);
    expect(bee.heard).toEqual([]);
    expect(bee.part.isRunning).toBe(false);
  });

  it('ends when it is told to', async () => {
    const ada = await started();
    const { token } = ada.desk.invite(invitation);
    const bee = await prepare({ token });
    const stop = new AbortController();
    const joining = bee.part.start(stop.signal);
    stop.abort(new Error('enough'));
    await expect(joining).rejects.toThrow('enough');
    expect(bee.part.isRunning).toBe(false);
  });

  it('may not invite, revoke, or measure whom it does not know', async () => {
    const { ada, bee } = await pair();
    expect([ada.desk.canInvite, bee.desk.canInvite]).toEqual([true, false]);
    expect(thrownBy(() => bee.desk.invite(invitation))).toMatchObject({ code: 'role_forbidden' });
    expect(thrownBy(() => bee.desk.revoke('ada'))).toMatchObject({ code: 'role_forbidden' });
    expect(thrownBy(() => ada.desk.revoke('cleo'))).toMatchObject({ code: 'peer_unknown' });
    expect(thrownBy(() => ada.desk.revoke('ada'))).toMatchObject({ code: 'invalid_request' });
    const ping = bee.desk.ping({ peer: 'cleo', count: 1, throughput: true }, never);
    expect(await rejectionOf(ping)).toMatchObject({ code: 'peer_unknown' });
  });
});

describe('a node that is put out', () => {
  it('loses its links, and its invite with it', async () => {
    const { ada, bee, token } = await pair();
    const { peer, invite } = ada.desk.revoke('bee');
    expect(peer).toMatchObject({ name: 'bee' });
    expect(invite).toMatch(/^[0-9a-f]{64}$/);
    await seen(ada, 'bee', 'left');
    await expect.poll(() => bee.part.parts.mesh.members().filter(({ isUp }) => isUp)).toEqual([]);
    const cleo = await prepare({ token });
    expect(await rejectionOf(cleo.start())).toMatchObject({ code: 'certificate_revoked' });
  });

  it('stays if only its invite is revoked, which may be named by its token', async () => {
    const { ada, token } = await pair();
    const { peer, invite } = ada.desk.revoke(token);
    expect([peer, invite]).toEqual([undefined, expect.stringMatching(/^[0-9a-f]{64}$/)]);
    expect(await ada.desk.peers()).toMatchObject([{ name: 'bee', state: 'joined' }]);
    expect(await rejectionOf((await prepare({ token })).start())).toMatchObject({
      code: 'certificate_revoked',
    });
  });
});

describe('a node that leaves', () => {
  it('tells the mesh, forgets it, and takes no more part', async () => {
    const { ada, bee } = await pair();
    await bee.desk.leave(false);
    await seen(ada, 'bee', 'left');
    expect(await readdir(bee.path)).toEqual(['identity.key']);
    expect(bee.left).toEqual([bee.path]);
    expect(bee.desk.status()).toBeUndefined();
    expect(await rejectionOf(bee.desk.peers())).toMatchObject({ code: 'mesh_missing' });
  });

  it('keeps the key of its mesh until it is told twice', async () => {
    const ada = await started();
    expect(await rejectionOf(ada.desk.leave(false))).toMatchObject({ code: 'mesh_key_at_risk' });
    expect(ada.part.isRunning).toBe(true);
    await ada.desk.leave(true);
    expect(await readdir(ada.path)).toEqual(['identity.key']);
  });
});

describe('what a node must be told', () => {
  it('is that another process has its key', async () => {
    const { part, path, conflicts } = await started();
    const { meshId, certificate } = part.entry;
    const identity = KeyPair.fromSeed(await new MeshFolder(path).identity(systemRandom));
    const issuedMs = systemClock.wallMs() + 1000;
    const recordOf = (epoch: number): Uint8Array => {
      const own = {
        peerId: identity.peerId,
        certificate: certificate.bytes,
        role: 'admin',
        left: false,
      } as const;
      const dated = { epoch, sequence: 0, issuedMs, expiresMs: issuedMs + 60_000 };
      return seal('record', meshId, encodeRecord({ ...noFacts, ...own, ...dated }), identity).bytes;
    };
    // The first may be of an earlier life; the second answers what this one said to it.
    part.parts.mesh.publish([recordOf(99), recordOf(199)]);
    expect(conflicts).toMatchObject([{ code: 'key_conflict', kind: { exitCode: 1 } }]);
  });

  it('is that its membership ends soon', async () => {
    const dayMs = 24 * 60 * 60_000;
    const shifted = (byMs: number): Clock => ({ ...systemClock, wallMs: () => systemClock.wallMs() + byMs });
    const ada = await started({ name: 'ada' });
    const { token } = ada.desk.invite(invitation);
    const bee = await started({ name: 'bee', token });
    await seen(bee, 'ada', 'joined');
    await Promise.all([ada.part.stop(), bee.part.stop()]);
    const late = await started({ path: bee.path, clock: shifted(80 * dayMs) });
    expect(late.heard).toContainEqual(
      expect.objectContaining({ event: 'warning', message: expect.stringContaining('ends at') }),
    );
  });

  it('is that it is out of the mesh, which it then says of itself', async () => {
    const dayMs = 24 * 60 * 60_000;
    const ada = await started({ name: 'ada' });
    const { token } = ada.desk.invite(invitation);
    const bee = await started({ name: 'bee', token });
    await seen(bee, 'ada', 'joined');
    await bee.part.stop();
    const clock = { ...systemClock, wallMs: () => systemClock.wallMs() + 100 * dayMs };
    const late = await started({ path: bee.path, clock });
    expect(late.heard).toContainEqual(
      expect.objectContaining({ event: 'error', code: 'certificate_expired' }),
    );
    expect(late.desk.status()).toMatchObject({ state: 'expelled', error: { code: 'certificate_expired' } });
  });
});
