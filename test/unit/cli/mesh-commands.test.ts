// The commands of the mesh: what they ask of the running node, what they print, and what they do without one.
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startConsole } from '../../../src/console/console.ts';
import type { HttpServer } from '../../../src/http/server.ts';
import { type DataFolder, openDataFolder } from '../../../src/node/data-folder.ts';
import { MeshFolder } from '../../../src/node/mesh-folder.ts';
import { KeyPair, keyText } from '../../../src/trust/keys.ts';
import { systemClock } from '../../../src/util/clock.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { silentLogger } from '../../../src/util/logging.ts';
import { systemRandom } from '../../../src/util/random.ts';
import { type CommandOutcome, runCommandLine, startCommandLine } from '../../support/command-line.ts';
import { beeView, MeshDouble, managedNode, meshStatus } from '../../support/mesh-double.ts';

let home: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'meshnode-mesh-cli-'));
});
afterEach(() => rm(home, { recursive: true }));

const run = (argv: readonly string[], environment: Record<string, string> = {}): Promise<CommandOutcome> =>
  runCommandLine(argv, { MESHNODE_HOME: home, ...environment });

describe('beside a running node', () => {
  let mesh: MeshDouble;
  let folder: DataFolder;
  let server: HttpServer;

  beforeEach(async () => {
    mesh = new MeshDouble();
    folder = await openDataFolder(home, { random: systemRandom });
    server = await startConsole({
      node: managedNode(() => mesh),
      port: 0,
      token: folder.consoleToken,
      clock: systemClock,
      random: systemRandom,
      log: silentLogger,
    });
    await folder.announce({ pid: process.pid, startedAt: 'now', version: '1', consoleUrl: server.url });
  });
  afterEach(async () => {
    await server.close(0);
    await folder.close();
  });

  it('invite prints the token alone, and for people how to use it', async () => {
    const { exitCode, stdout, stderr } = await run(['invite']);
    expect([exitCode, stdout]).toEqual([0, 'mesh1token\n']);
    expect(stderr).toContain('meshnode --join mesh1token');
    expect(mesh.asked).toEqual(['invite serve 86400000 1 false']);
  });

  it('invite takes terms, and tells programs what came of them', async () => {
    const terms = ['--role', 'client', '--ttl', '30m', '--uses', '7', '--strict', '--json'];
    const { stdout } = await run(['invite', ...terms]);
    expect(JSON.parse(stdout)).toMatchObject({ token: 'mesh1token', role: 'client', uses: 7, strict: true });
    expect(mesh.asked).toEqual(['invite client 1800000 7 true']);
  });

  it('invite shows a code to photograph', async () => {
    const { stdout, stderr } = await run(['invite', '--qr']);
    expect(stdout).toBe('mesh1token\n');
    expect(stderr).toMatch(/[▀▄█]{10}/);
  });

  it.each([
    ['--role', 'king'],
    ['--ttl', 'soon'],
    ['--uses', '0'],
    ['--uses', '1.5'],
  ])('invite refuses %s %s as wrong usage', async (flag, value) => {
    expect((await run(['invite', flag, value])).exitCode).toBe(2);
    expect(mesh.asked).toEqual([]);
  });

  it('peers shows a table, and everything for programs', async () => {
    const { stdout } = await run(['peers']);
    expect(stdout).toMatch(/^NAME +PEER +ROLE +STATE +PATH +RTT +LOAD +MODELS +VERSION$/m);
    expect(stdout).toMatch(/^bee +o3DLz2KA +serve +joined +tcp in +1\.5 ms +3\/4 +demo +1\.0\.0$/m);
    const { stdout: json } = await run(['peers', '--json']);
    expect(JSON.parse(json)).toEqual((await mesh.peers())[0]);
  });

  it('peers shows more when asked to, in full', async () => {
    const { stdout } = await run(['peers', '--wide']);
    expect(stdout).toMatch(/^NAME +PEER +ROLE .* RTT +RTT P95 +HEARD +LOAD +MODELS +VERSION +ADDRESS$/m);
    expect(stdout).toMatch(/^bee +12D3Koo\w+ .* 1\.5 ms +2\.5 ms +0\.4 s +3\/4 +demo +1\.0\.0 +\/ip4\/192/m);
  });

  it('peers fits into 100 columns whatever they are called, those first that live', async () => {
    const long = 'a-name-that-somebody-thought-was-funny';
    const models = ['one-model-with-a-long-name', 'two', 'three'].map((name) => ({ name, state: 'loading' }));
    const paths = (['tcp', 'quic'] as const).map((path) => ({
      ...({ path, direction: 'outbound' } as const),
      remoteAddress: '/ip4/192.0.2.1/tcp/1',
    }));
    const state = 'suspect' as const;
    const many = { load: [{ model: 'x', inFlight: 100, queued: 100, slots: 100 }], rttMs: 1234.5 };
    const version = '10.20.30-beta.4';
    mesh.shown = [{ ...beeView, name: long, models, paths, state, version, ...many }, beeView];
    const { stdout, stderr } = await run(['peers']);
    const lines = stdout.trimEnd().split('\n');
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(100);
    expect(lines[1]).toMatch(/^bee /);
    expect(lines[2]).toMatch(
      /^a-name-that-som… +o3DLz2KA .* tcp out, quic … +\S+ ms +- +one-mode… \+2 +10\.20\.30-…$/,
    );
    expect(stderr).toContain('meshnode doctor');
  });

  it.each([
    ['what a beat of long ago says', { loadAgeMs: 60_000 }, '-'],
    ['a peer that is not heard', { state: 'suspect' }, '-'],
    ['slots that nobody knows', { load: [{ model: 'demo', inFlight: 1, queued: 1 }] }, '2/\\?'],
    ['a peer without models', { load: [] }, '-'],
  ] as const)('peers shows no more load than is known: %s', async (_what, fields, cell) => {
    mesh.shown = [{ ...beeView, ...fields }];
    expect((await run(['peers'])).stdout).toMatch(new RegExp(` 1\\.5 ms +${cell} +demo`, 'm'));
  });

  it('ping shows what was measured on each path', async () => {
    const { stdout } = await run(['ping', 'bee', '--count', '3']);
    expect(stdout).toMatch(/^tcp +inbound +1\.25 ms +1\.00 ms +2\.00 ms +123 +\/ip4\/192/m);
    expect(mesh.asked).toEqual(['ping bee 3']);
    expect((await run(['ping', 'bee', '--count', '0'])).exitCode).toBe(2);
  });

  it('revoke says what it did', async () => {
    const { stderr } = await run(['revoke', 'bee']);
    expect(stderr).toMatch(/bee \(12D3\w+\) is out of the mesh.*\n.*invite is revoked too/);
    expect((await run(['revoke', 'mesh1x'])).stderr).toContain('Whoever has joined by it stays');
    expect(mesh.asked).toEqual(['revoke bee', 'revoke mesh1x']);
  });

  it('leave passes on that the key may go, or the refusal', async () => {
    expect((await run(['leave', '--yes'])).exitCode).toBe(0);
    expect(mesh.asked).toEqual(['leave true']);
    mesh.failure = new MeshnodeError('mesh_key_at_risk', 'This node holds the key.');
    const { exitCode, stderr } = await run(['leave']);
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/holds the key.*\n.*export-key/);
  });

  it('status shows the mesh', async () => {
    const { stdout } = await run(['status']);
    expect(stdout).toMatch(/^Mesh abababab +admin +member +2 members alive +3 GiB usable$/m);
    expect(stdout).toContain('/ip4/192.0.2.2/tcp/9338');
    expect(stdout).toMatch(/^IN THE MESH +STATE +REPLICAS .*\ndemo +ready +1 +chat +512 +-$/m);
    expect(stdout).toContain('No models on this node.');
    expect(stdout).not.toContain('doctor');
    const { stdout: json } = await run(['status', '--json']);
    expect(JSON.parse(json)).toMatchObject({ mesh: meshStatus });
  });

  it('status says who is missing and what nobody serves, and what to do', async () => {
    mesh.status = {
      ...meshStatus,
      members: 5,
      suspect: 1,
      dead: 2,
      wanted: [{ model: 'qwen', requests: 1 }],
    };
    const { stdout } = await run(['status']);
    expect(stdout).toMatch(/^Mesh .* 4 members alive, 1 suspect, 2 dead /m);
    expect(stdout).toMatch(/^! A peer is not heard: run `meshnode doctor`\.$/m);
    expect(stdout).toMatch(/^! 2 peers are gone without leaving: run `meshnode doctor`\.$/m);
    expect(stdout).toMatch(/^! 'qwen' is asked for .*`meshnode doctor`/m);
  });

  it('status fits on a screen however many models there are', async () => {
    const model = { stage: 'loading', fraction: 0.5, replicas: 3, kinds: [] } as const;
    const models = Array.from({ length: 50 }, (_, index) => ({ ...model, name: `model-${index}` }));
    mesh.status = { ...meshStatus, models };
    const { stdout } = await run(['status']);
    expect(stdout).toMatch(/^model-19 +loading 50 % +3 /m);
    expect(stdout).toMatch(/^and 30 more: meshnode status --json$/m);
    expect(stdout.split('\n').length).toBeLessThan(40);
  });

  it('doctor looks at the mesh too', async () => {
    mesh.shown = [{ ...beeView, state: 'suspect', heardMsAgo: 5_000 }];
    const { stdout: json } = await run([
      'doctor',
      '--json',
      '--engine',
      'llama-server',
      '--port',
      '0',
      '--console-port',
      '0',
    ]);
    const results = json
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(results).toContainEqual(
      expect.objectContaining({ check: 'peers', outcome: 'warning', peerId: beeView.peerId }),
    );
    expect(results.map(({ check }) => check)).toContain('memory');
  });

  it('import-key is refused', async () => {
    const file = join(home, 'backup');
    await writeFile(file, 'x');
    const { exitCode, stderr } = await run(['mesh', 'import-key', file], { MESHNODE_PASSPHRASE: 'p' });
    expect(exitCode).toBe(69);
    expect(stderr).toContain('is in use');
  });
});

describe('without a running node', () => {
  const key = KeyPair.fromSeed(systemRandom.bytes(32));
  const meshId = keyText(key.publicKey);
  const environment = { MESHNODE_PASSPHRASE: 'correct horse' };
  const keep = () => new MeshFolder(home).saveMeshKey(key.seed);

  it('doctor says that it cannot look at the mesh, and goes on', async () => {
    const { stdout } = await run([
      'doctor',
      '--engine',
      'llama-server',
      '--port',
      '0',
      '--console-port',
      '0',
    ]);
    expect(stdout).toMatch(/^✓ mesh: Not looked at: no node runs on this data folder\.$/m);
    expect(stdout).toMatch(/memory: /);
  });

  it.each([['invite'], ['peers'], ['ping', 'bee'], ['revoke', 'bee']])(
    '%s says how to start one',
    async (...argv) => {
      const { exitCode, stderr } = await run(argv);
      expect(exitCode).toBe(69);
      expect(stderr).toContain('Start it with');
    },
  );

  it('leave makes the folder forget its mesh, with its key only when told twice', async () => {
    expect((await run(['leave'])).exitCode).toBe(69);
    await keep();
    expect((await run(['leave'])).exitCode).toBe(1);
    const { exitCode, stderr } = await run(['leave', '--yes']);
    expect([exitCode, stderr]).toEqual([0, expect.stringContaining('was not told')]);
    expect(await readdir(home)).not.toContain('mesh.key');
  });

  it('leave gets rid of a membership that cannot be read', async () => {
    await writeFile(join(home, 'mesh.json'), 'rubbish');
    expect((await run(['leave'])).exitCode).toBe(0);
    expect(await readdir(home)).not.toContain('mesh.json');
  });

  it('a mesh key goes into a file that only its owner reads, and comes back', async () => {
    await keep();
    const file = join(home, 'backup');
    const { exitCode, stderr } = await run(['mesh', 'export-key', file], environment);
    expect([exitCode, stderr]).toEqual([0, expect.stringContaining(meshId.slice(0, 8))]);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readFile(file, 'utf8')).toMatch(/^-----BEGIN AGE ENCRYPTED FILE-----/);

    expect((await run(['mesh', 'export-key', file], environment)).exitCode).toBe(2);
    await new MeshFolder(home).forgetMesh();
    const wrong = await run(['mesh', 'import-key', file], { MESHNODE_PASSPHRASE: 'wrong' });
    expect([wrong.exitCode, wrong.stderr]).toEqual([1, expect.stringContaining('passphrase')]);
    const { stdout } = await run(['mesh', 'import-key', file, '--json'], environment);
    expect(JSON.parse(stdout)).toEqual({ meshId });
    expect(await new MeshFolder(home).meshKey()).toEqual(key.seed);
  });

  it('a mesh key is not taken into the folder of another mesh', async () => {
    await keep();
    const file = join(home, 'backup');
    await run(['mesh', 'export-key', file], environment);
    await new MeshFolder(home).saveMeshKey(systemRandom.bytes(32));
    const { exitCode, stderr } = await run(['mesh', 'import-key', file], environment);
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining('of another')]);
  });

  it('there is no key to export where none is', async () => {
    const { exitCode, stderr } = await run(['mesh', 'export-key', join(home, 'backup')], environment);
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining('made the mesh')]);
  });

  it('a passphrase is taken from a file, typed twice without being shown, or asked for in vain', async () => {
    await keep();
    const passphrases = join(home, 'passphrase');
    await writeFile(passphrases, 'correct horse\n');
    const file = join(home, 'backup');
    expect((await run(['mesh', 'export-key', file, '--passphrase-file', passphrases])).exitCode).toBe(0);
    expect((await run(['mesh', 'import-key', file], environment)).exitCode).toBe(0);

    const typed = startCommandLine(
      ['mesh', 'export-key', join(home, 'typed')],
      { MESHNODE_HOME: home },
      { terminal: true },
    );
    await expect.poll(() => typed.printed.stderr).toContain('Passphrase: ');
    typed.type('correct horse\n');
    await expect.poll(() => typed.printed.stderr).toContain('Once more: ');
    typed.type('another\n');
    const { exitCode, stdout, stderr } = await typed.outcome;
    expect([exitCode, stdout]).toEqual([2, '']);
    expect(stderr).toContain('differ');
    expect(stderr).not.toContain('horse');

    const nobody = await run(['mesh', 'export-key', join(home, 'other')]);
    expect([nobody.exitCode, nobody.stderr]).toEqual([2, expect.stringContaining('MESHNODE_PASSPHRASE')]);
  });
});
