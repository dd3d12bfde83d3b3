// Joining a mesh as its owners do: real nodes on loopback, one token, and what is said when it does not work.
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createInvite } from '../../src/trust/invite.ts';
import { KeyPair, keyText } from '../../src/trust/keys.ts';
import { systemRandom } from '../../src/util/random.ts';
import { type JsonLine, meshnodeProgram, runMeshnode, StartedProcess } from '../support/started-process.ts';
import { testHost } from '../support/test-host.ts';

/** A data folder whose node can be started again. */
class Member {
  readonly home: string;
  process: StartedProcess | undefined;

  constructor(home: string) {
    this.home = home;
  }

  /** Starts the node; resolves when it is ready, or rejects with what it printed. */
  async start(...flags: readonly string[]): Promise<StartedProcess> {
    const process = this.launch(...flags);
    await process.event('ready');
    return process;
  }

  launch(...flags: readonly string[]): StartedProcess {
    const ports = ['--port', '0', '--console-port', '0'];
    const started = new StartedProcess(meshnodeProgram, ['--json', ...ports, ...this.at, ...flags]);
    this.process = started;
    return started;
  }

  async stop(): Promise<void> {
    await this.process?.stop();
  }

  /** What a command beside the node prints. */
  run(...args: readonly string[]) {
    return runMeshnode([...args, ...this.at]);
  }

  async json(...args: readonly string[]): Promise<JsonLine[]> {
    const { stdout } = await this.run(...args, '--json');
    return stdout
      .trim()
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line));
  }

  async meshId(): Promise<unknown> {
    const [status] = await this.json('status');
    return (status as { mesh: JsonLine } | undefined)?.mesh['meshId'];
  }

  /** Where the running node can be dialled, its peer id included. */
  async address(): Promise<string> {
    const event = await this.process?.event('node');
    return String((event as { addresses: string[] } | undefined)?.addresses[0]);
  }

  async names(): Promise<string[]> {
    return (await readdir(this.home)).sort();
  }

  get at(): string[] {
    return ['--data-dir', this.home];
  }
}

async function member(): Promise<Member> {
  const made = new Member(await mkdtemp(join(tmpdir(), 'meshnode-join-')));
  onTestFinished(async () => {
    await made.process?.stop('SIGKILL');
    await rm(made.home, { recursive: true, force: true });
  });
  return made;
}

/** A running node that made a mesh, and the token it shows. */
async function founder(...flags: readonly string[]): Promise<{ founder: Member; token: string }> {
  const made = await member();
  const process = await made.start('--name', 'ada', ...flags);
  return { founder: made, token: String((await process.event('invite'))['token']) };
}

/** Waits until the command shows a peer so. */
const shown = (from: Member, peer: object) =>
  expect.poll(() => from.json('peers'), { timeout: 15_000, interval: 100 }).toMatchObject([peer]);

describe('a second node with the token of a first', () => {
  it('joins its mesh, and both show each other', async () => {
    const { founder: ada, token } = await founder();
    const bee = await member();
    const process = await bee.start('--name', 'bee', '--join', token);
    expect(await process.event('node')).toMatchObject({
      role: 'serve',
      meshId: await ada.meshId(),
    });
    await shown(ada, { name: 'bee', role: 'serve', state: 'joined', rttMs: expect.any(Number) });
    await shown(bee, { name: 'ada', role: 'admin', state: 'joined', rttMs: expect.any(Number) });
    expect(await ada.process?.event('peer', { name: 'bee' })).toMatchObject({ state: 'joined' });
    expect(process.lines.map(({ event }) => event)).not.toContain('invite');

    const [ping] = await ada.json('ping', 'bee', '--count', '3');
    expect(ping).toMatchObject({
      name: 'bee',
      count: 3,
      paths: [{ path: expect.stringMatching(/^(quic|tcp)$/), bytesPerSecond: expect.any(Number) }],
    });
    expect((await bee.run('peers')).stdout).toMatch(/ada +\w{8} +admin +joined/);
  });

  it('is a member again after a restart, also while the first is gone', async () => {
    const { founder: ada, token } = await founder('--listen-port', '0');
    const bee = await member();
    const { peerId } = await (await bee.start('--join', token)).event('node');
    const port = String((await ada.address()).split('/')[4]);
    await ada.stop();
    await bee.stop();
    const again = await bee.start('--join', token);
    expect(await again.event('node')).toMatchObject({ peerId, role: 'serve' });
    expect(await bee.json('status')).toMatchObject([{ mesh: { state: 'member', members: 1 } }]);
    await ada.start('--name', 'ada', '--listen-port', port);
    await shown(bee, { name: 'ada', state: 'joined' });
    await shown(ada, { state: 'joined' });
  });

  it('leaves, is told of, and joins another mesh', async () => {
    const { founder: ada, token } = await founder();
    const { token: other } = await founder();
    const bee = await member();
    await bee.start('--name', 'bee', '--join', token);
    await shown(ada, { name: 'bee', state: 'joined' });
    expect(await bee.json('leave')).toEqual([{ left: true, told: true }]);
    await shown(ada, { state: 'left' });
    expect(await bee.names()).not.toContain('mesh.json');
    expect((await bee.run('peers')).exitCode).toBe(69);
    await bee.stop();
    const process = await bee.start('--join', other);
    expect(await process.event('node')).toMatchObject({ role: 'serve', meshId: expect.any(String) });
  });

  it('may be a client: it sees the mesh and serves it nothing', async () => {
    const { founder: ada, token } = await founder();
    const cleo = await member();
    const process = await cleo.start('--name', 'cleo', '--join', token, '--client', '--model', 'demo-embed');
    expect(await process.event('node')).toMatchObject({ role: 'client' });
    await shown(ada, { name: 'cleo', role: 'client', models: [] });
    await shown(cleo, { name: 'ada', role: 'admin', state: 'joined' });
  });

  it('tells the others which models it has', async () => {
    const { founder: ada, token } = await founder();
    const bee = await member();
    await bee.start('--join', token, '--model', 'demo-embed', '--threads', '1');
    await shown(ada, {
      models: [
        {
          name: 'demo-embed',
          state: 'ready',
          kind: 'embedding',
          digest: expect.stringMatching(/^[0-9a-f]{64}$/),
        },
      ],
      devices: [expect.objectContaining({ kind: 'cpu' })],
    });
  });
});

describe('an admin', () => {
  it('revokes a peer with its invite: neither comes in again, a new invite does', async () => {
    const { founder: ada } = await founder();
    const token = (await ada.run('invite', '--uses', '5')).stdout.trim();
    const bee = await member();
    await bee.start('--name', 'bee', '--join', token);
    await shown(ada, { name: 'bee', state: 'joined' });
    expect(await ada.json('revoke', 'bee')).toMatchObject([
      { peer: { name: 'bee' }, invite: expect.stringMatching(/^[0-9a-f]{64}$/) },
    ]);
    await expect.poll(() => ada.json('peers'), { timeout: 10_000 }).toEqual([]);
    await bee.stop();
    const cleo = await member();
    const refused = cleo.launch('--join', token);
    expect(await refused.exited).toBe(1);
    expect(refused.lines.at(-1)).toMatchObject({ event: 'error', code: 'certificate_revoked' });
    expect(await cleo.names()).not.toContain('mesh.json');

    const fresh = (await ada.run('invite')).stdout.trim();
    await bee.start('--name', 'bee', '--join', fresh);
    await shown(ada, { name: 'bee', state: 'joined' });
  });

  it('makes another admin, who invites in turn', async () => {
    const { founder: ada } = await founder();
    const token = (await ada.run('invite', '--role', 'admin')).stdout.trim();
    const bee = await member();
    const process = await bee.start('--name', 'bee', '--join', token);
    const { token: second } = await process.event('invite');
    await ada.stop();
    const cleo = await member();
    await cleo.start('--join', String(second));
    await expect
      .poll(() => cleo.json('peers'), { timeout: 15_000 })
      .toContainEqual(expect.objectContaining({ name: 'bee', role: 'admin', state: 'joined' }));
  });

  it('is asked for by who may not invite', async () => {
    const { token } = await founder();
    const bee = await member();
    await bee.start('--join', token);
    const { exitCode, stderr } = await bee.run('invite');
    expect(exitCode).toBe(1);
    expect(stderr).toContain('Ask an admin');
  });

  it('keeps the mesh key safe: exports it, leaves only when told twice, imports it again', async () => {
    const { founder: ada } = await founder();
    const meshId = await ada.meshId();
    const { exitCode, stderr } = await ada.run('leave');
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining('export-key')]);
    await ada.stop();
    const backup = join(ada.home, 'backup.age');
    const environment = { MESHNODE_PASSPHRASE: 'correct horse' };
    const keyed = (...args: string[]) => runMeshnode([...args, ...ada.at], { environment });
    expect((await keyed('mesh', 'export-key', backup)).exitCode).toBe(0);
    expect((await keyed('leave', '--yes')).exitCode).toBe(0);
    expect(await ada.names()).not.toContain('mesh.key');
    expect((await keyed('mesh', 'import-key', backup)).exitCode).toBe(0);
    await ada.start();
    expect(await ada.json('status')).toMatchObject([{ mesh: { meshId, role: 'admin', holdsMeshKey: true } }]);
  });
});

describe('a token that is no good', () => {
  const refusedBy = async (
    token: string,
    ...flags: string[]
  ): Promise<{ exitCode: unknown; error: JsonLine | undefined; stderr: string; names: string[] }> => {
    const bee = await member();
    const process = bee.launch('--join', token, ...flags);
    const exitCode = await process.exited;
    return { exitCode, error: process.lines.at(-1), stderr: process.stderr, names: await bee.names() };
  };
  const nothing = expect.not.arrayContaining(['mesh.json', 'mesh.key', 'run.json']);

  /** A token of a mesh that nobody has made, whose node would be at `address`. */
  const madeUp = (address: string, { nowMs = Date.now() } = {}): string => {
    const key = KeyPair.fromSeed(systemRandom.bytes(32));
    return createInvite(
      {
        issuer: { meshId: keyText(key.publicKey), key },
        role: 'serve',
        ttlMs: 60_000,
        maxUses: 1,
        strict: false,
        addresses: [address],
      },
      { random: systemRandom, nowMs },
    ).token;
  };
  const somebody = KeyPair.fromSeed(systemRandom.bytes(32)).peerId;

  it('ends the node with a sentence if a part is missing', async () => {
    const { exitCode, error, stderr, names } = await refusedBy(
      madeUp(`/ip4/127.0.0.1/tcp/9/p2p/${somebody}`).slice(0, -5),
    );
    expect([exitCode, error?.['code'], names]).toEqual([1, 'token_invalid', nothing]);
    expect(stderr).toMatch(/not whole.*\n.*Copy the whole token/);
  });

  it('ends the node with a sentence if it has expired', async () => {
    const token = madeUp(`/ip4/127.0.0.1/tcp/9/p2p/${somebody}`, { nowMs: Date.now() - 3_600_000 });
    const { exitCode, error, names } = await refusedBy(token);
    expect([exitCode, error?.['code'], names]).toEqual([1, 'token_expired', nothing]);
  });

  it('is refused by the node of another mesh', async () => {
    const { founder: ada } = await founder();
    const { exitCode, error, names } = await refusedBy(madeUp(await ada.address()));
    expect([exitCode, error?.['code'], names]).toEqual([1, 'mesh_mismatch', nothing]);
  });

  it('is refused where a mesh is already, with the way out', async () => {
    const { founder: ada } = await founder();
    const { token } = await founder();
    await ada.stop();
    const again = ada.launch('--join', token);
    expect(await again.exited).toBe(1);
    expect(again.lines.at(-1)).toMatchObject({
      code: 'mesh_joined',
      hint: expect.stringContaining('meshnode leave'),
    });
    expect(await ada.names()).toContain('mesh.json');
  });

  it('leads to nobody: exit code 69 and why', async () => {
    const { exitCode, error, names } = await refusedBy(madeUp(`/ip4/127.0.0.1/tcp/9/p2p/${somebody}`));
    expect([exitCode, error?.['code'], names]).toEqual([69, 'join_failed', nothing]);
  });

  it('leads to somebody with another key', async () => {
    const stranger = await testHost();
    onTestFinished(() => stranger.close());
    const { exitCode, error, names } = await refusedBy(madeUp(`${stranger.addresses()[0]}/p2p/${somebody}`));
    expect([exitCode, error?.['code'], names]).toEqual([69, 'peer_key_mismatch', nothing]);
  });

  it('may come in a file', async () => {
    const { founder: ada, token } = await founder();
    const bee = await member();
    const file = join(bee.home, 'token');
    await writeFile(file, `${token}\n`);
    await bee.start('--name', 'bee', '--join-file', file);
    await shown(ada, { name: 'bee' });
    expect(JSON.parse(await readFile(join(bee.home, 'mesh.json'), 'utf8'))).toMatchObject({
      hasJoined: true,
    });
  });
});
