// Tokens that are damaged, stale, forged or stolen, and addresses that lead to an impostor: the newcomer ends with one
// sentence and a hint, nothing of a mesh is left in its folder, and what the token keeps secret has gone nowhere.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { type Issuer, issueCertificate } from '../../src/trust/certificate.ts';
import { parseToken, redeem } from '../../src/trust/invite.ts';
import type { KeyPair } from '../../src/trust/keys.ts';
import { seededRandom } from '../../src/util/random.ts';
import { Token } from '../../src/wire/trust-messages.ts';
import { watched } from '../support/attack-watch.ts';
import { forgeGrant } from '../support/forged-records.ts';
import { HostilePeer } from '../support/hostile-peer.ts';
import { freshKey, inviteBy, MeshProcess, startedPair, strangeIssuer } from '../support/mesh-process.ts';
import { probed } from '../support/node-probe.ts';
import { openSilentDoor, type SilentDoor } from '../support/silent-door.ts';

/** A mesh of two; tokens are ada's, or pretend to be. */
let ada: MeshProcess;
let bee: MeshProcess;
let meshKey: Issuer;
/** Who has joined in the end, and may be in a table. */
const joined = new Set<string>();

beforeAll(async () => {
  [ada, bee] = await probed(startedPair);
  meshKey = await ada.meshIssuer();
});

afterAll(async () => {
  await Promise.all([ada?.discard(), bee?.discard()]);
});

const adasAddresses = (): string[] => [ada.address('quic'), ada.address('tcp')];

/** A good token of the mesh. */
const goodToken = (): string => inviteBy(meshKey, adasAddresses());

const underWatch = <T>(attack: () => Promise<T>): Promise<T> =>
  watched({ victim: ada, witness: bee }, attack, { except: joined });

/** What a join came to. */
interface JoinEnd {
  readonly exitCode: number | string;
  readonly stderr: string;
  /** What is in the newcomer's folder. */
  readonly files: readonly string[];
}

/** What every node leaves in its folder, also one that has never heard of a mesh. */
const ofAnyNode = ['console-token', 'identity.key', 'lock.sqlite', 'processes.json'];

/** Starts a newcomer and waits for its end. */
async function joinWith(...flags: readonly string[]): Promise<JoinEnd> {
  const newcomer = await MeshProcess.create('cleo');
  try {
    const started = newcomer.launch(...flags);
    const exitCode = await started.exited;
    return { exitCode, stderr: started.stderr, files: await readdir(newcomer.home) };
  } finally {
    await newcomer.discard();
  }
}

/** The same with a file that holds `content`, in another folder than the node's. */
async function joinByFile(content: string | Uint8Array): Promise<JoinEnd> {
  const folder = await mkdtemp(join(tmpdir(), 'meshnode-token-'));
  try {
    const file = join(folder, 'token');
    await writeFile(file, content);
    return await joinWith('--join-file', file);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** After where its API answers, and what it logs: one sentence about what happened, and one about what to do. */
const sentenceAndHint =
  /^(?:(?:API|Console) +http[^\n]+\n|[\d:]{8} info [^\n]+\n)*meshnode: [^\n]+\.\n {2}[^\n]+\n$/;

function expectRefusal(end: JoinEnd, says: RegExp, exitCode: 1 | 69 = 1): void {
  expect(end.exitCode).toBe(exitCode);
  expect(end.files.filter((name) => !ofAnyNode.includes(name))).toEqual([]);
  expect(end.stderr).toMatch(sentenceAndHint);
  expect(end.stderr).toMatch(says);
}

type TokenFields = Parameters<typeof Token.encode>[0];

/** A token of any content, its checksum right. */
function tokenOf(fields: TokenFields): string {
  const body = Token.encode(fields).finish();
  const checksum = createHash('sha256').update(body).digest().subarray(0, 4);
  return `mesh1${Buffer.concat([checksum, body]).toString('base64url')}`;
}

/** A grant of this mesh signed by whoever, with the secret that belongs to it. */
function grantBy(key: KeyPair): Pick<TokenFields, 'grant' | 'inviteSeed'> {
  const { grant, inviteKey } = forgeGrant({ meshId: meshKey.meshId, key });
  return { grant, inviteSeed: inviteKey.seed };
}

/** What is in a good token, to be made worse. */
function fieldsOf(token: string): TokenFields {
  const { grantBytes, inviteSeed, addresses } = parseToken(token);
  return { grant: grantBytes, inviteSeed, addresses: addresses.map(({ address }) => address) };
}

function withChangedCharacter(token: string, position: number): string {
  const changed = token[position] === 'A' ? 'B' : 'A';
  return token.slice(0, position) + changed + token.slice(position + 1);
}

describe('a token that is none, of which nobody needs to be asked', () => {
  /** Where all of these tokens lead: a node that asked the mesh would come by. */
  let door: SilentDoor;

  beforeAll(async () => {
    door = await openSilentDoor();
  });

  afterAll(() => door?.close());

  const adaAt = ({ addresses }: SilentDoor): string[] =>
    addresses.map((address) => `${address}/p2p/${ada.peerId}`);

  const tokenToDoor = (options: Parameters<typeof inviteBy>[2] = {}, at = door): string =>
    inviteBy(meshKey, adaAt(at), options);

  function expectNobodyAsked(): void {
    expect(door.knocks).toEqual({ udp: 0, tcp: 0 });
  }

  const notWhole = /not whole.*\n.*Copy the whole token/;
  const noToken = /This is no token.*\n.*Copy the whole token/;
  const cases: readonly [what: string, make: () => string | Uint8Array, says: RegExp][] = [
    ['with only its beginning', () => 'mesh1', notWhole],
    ['without its first half', () => tokenToDoor().slice(tokenToDoor().length / 2), noToken],
    ['cut in the middle', () => tokenToDoor().slice(0, tokenToDoor().length / 2), notWhole],
    ['cut by one character', () => tokenToDoor().slice(0, -1), notWhole],
    ['with a character changed in its middle', () => withChangedCharacter(tokenToDoor(), 150), notWhole],
    ['that is empty', () => '', noToken],
    ['that is a megabyte of rubbish', () => seededRandom(2).bytes(1_000_000), /too large/],
    ['with ten thousand addresses', () => withAddresses(10_000), /too l(ong|arge)/],
    [
      'whose addresses name no peer',
      () => tokenOf({ ...fieldsOf(tokenToDoor()), addresses: ['/ip4/127.0.0.1/tcp/9338'] }),
      /none that ends in \/p2p\//,
    ],
    [
      'whose addresses are no addresses',
      () => tokenOf({ ...fieldsOf(tokenToDoor()), addresses: ['http://127.0.0.1/', '\u0000'] }),
      /none that ends in \/p2p\//,
    ],
    [
      'signed by a stranger in the name of the mesh',
      () => tokenOf({ ...fieldsOf(tokenToDoor()), ...grantBy(freshKey()) }),
      /neither by the mesh key nor by an admin/,
    ],
    ['signed by a member that is no admin', grantOfServer, /no admin/],
    ['that has expired', () => tokenToDoor({ nowMs: Date.now() - 3_600_000 }), /has expired.*\n.*new invite/],
  ];

  it.concurrent.each(cases)('%s', async (_what, make, says) => {
    const token = make();
    const end = await joinByFile(token);
    expectRefusal(end, says);
    expect(end.stderr.length).toBeLessThan(400);
    expectNobodyAsked();
  });

  it('made tomorrow, by the clock of this machine', async () => {
    const token = tokenToDoor({ nowMs: Date.now() + 86_400_000 });
    expectRefusal(await joinByFile(token), /not made yet.*\n.*clocks of both machines/, 69);
    expectNobodyAsked();
  });

  it('is refused the same on the command line', async () => {
    expectRefusal(await joinWith('--join', tokenToDoor().slice(0, -7)), notWhole);
    const empty = await joinWith('--join', '');
    expect(empty).toMatchObject({ exitCode: 2, stderr: expect.stringMatching(sentenceAndHint) });
    expectNobodyAsked();
  });

  it('leaves a folder that joins with a good one afterwards', async () => {
    const newcomer = await MeshProcess.create('cleo');
    onTestFinished(() => newcomer.discard());
    expect(await newcomer.launch('--join', tokenToDoor().slice(0, -1)).exited).toBe(1);
    await newcomer.start('--join', goodToken());
    joined.add(newcomer.peerId);
    expect((await newcomer.table()).map(({ peerId }) => peerId)).toContain(ada.peerId);
  });

  it('would be asked about at the door, had it been good', async () => {
    const other = await openSilentDoor();
    onTestFinished(() => other.close());
    expectRefusal(await joinWith('--join', tokenToDoor({}, other)), /\n.*Check that a node/, 69);
    expect(other.knocks).toEqual({ udp: expect.any(Number), tcp: expect.any(Number) });
    expect(Math.min(other.knocks.udp, other.knocks.tcp)).toBeGreaterThan(0);
  });

  it('is refused from a file that cannot be read', async () => {
    expectRefusal(await joinWith('--join-file', join(tmpdir(), 'no', 'such', 'file')), /cannot be read/);
    expectRefusal(await joinWith('--join-file', tmpdir()), /cannot be read/);
  });

  function withAddresses(count: number): string {
    const [address = ''] = adaAt(door);
    return tokenOf({ ...fieldsOf(tokenToDoor()), addresses: Array.from({ length: count }, () => address) });
  }

  /** What a member with the role serve would hand out if it could. */
  function grantOfServer(): string {
    const server = freshKey();
    const certificate = issueCertificate({
      issuer: meshKey,
      peerKey: server.publicKey,
      role: 'serve',
      nowMs: Date.now(),
    });
    return tokenOf({ ...fieldsOf(tokenToDoor()), ...grantBy(server), issuer: certificate.bytes });
  }
});

describe('a token that the mesh does not take', () => {
  it('of another mesh', () =>
    underWatch(async () => {
      const token = inviteBy(strangeIssuer(), adasAddresses());
      expectRefusal(await joinWith('--join', token), /another mesh.*\n.*token of this mesh/);
    }));

  it('that was used up before', async () => {
    const token = goodToken();
    const first = await HostilePeer.start('tcp');
    onTestFinished(() => first.stop());
    await underWatch(async () => {
      await first.enter(ada.address('tcp'), redeem(parseToken(token), first.key, { nowMs: Date.now() }));
      expectRefusal(await joinWith('--join', token), /had admitted all|has admitted all/);
      expectRefusal(await joinByFile(token), /had admitted all|has admitted all/);
    });
  });

  it('for one, redeemed by two at the same moment', async () => {
    const token = goodToken();
    const newcomers = await Promise.all(['cleo', 'dan'].map((name) => MeshProcess.create(name)));
    onTestFinished(async () => {
      await Promise.all(newcomers.map((newcomer) => newcomer.discard()));
    });
    const ends = await underWatch(() =>
      Promise.all(
        newcomers.map((newcomer) => {
          const started = newcomer.launch('--join', token, '--json');
          const entered = started.event('node').then(({ peerId }) => {
            joined.add(String(peerId));
            return 'joined';
          });
          // Whichever comes second is of no more interest.
          return Promise.race([entered.catch(() => started.exited), started.exited]);
        }),
      ),
    );
    expect(ends.toSorted()).toEqual([1, 'joined']);
    const [loser] = newcomers.filter((_, index) => ends[index] === 1);
    expect(loser?.process.lines.at(-1)).toMatchObject({ event: 'error', code: 'token_used_up' });
    expect(await loser?.leftovers()).toEqual([]);
  });
});

describe('an address that answers with another key', () => {
  const kinds = [
    { path: 'quic', encryption: 'tls' },
    { path: 'tcp', encryption: 'tls' },
    { path: 'tcp', encryption: 'noise' },
  ] as const;

  it.each(kinds)('is found out, and hears nothing: $path, $encryption', async ({ path, encryption }) => {
    const impostor = await HostilePeer.start(path, { encryption });
    onTestFinished(() => impostor.stop());
    const { address, received } =
      path === 'tcp' ? await recordingRelay(impostor.address) : { address: impostor.address, received: [] };
    const token = inviteBy(meshKey, [`${address}/p2p/${ada.peerId}`]);
    await underWatch(async () => {
      expectRefusal(await joinWith('--join', token), /Another key than 12D3\w+ answers there/, 69);
    });
    expect(impostor.opened).toEqual([]);
    expect(impostor.heard).toEqual([]);
    expectNoSecret(token, received);
    expect(received.length > 0).toBe(path === 'tcp');
  });

  const listeners = [
    ['agrees to everything', (received: Buffer) => received],
    ['refuses every encryption', () => Buffer.from('\x13/multistream/1.0.0\n\x03na\n')],
    ['speaks something else', () => Buffer.from('HTTP/1.1 200 OK\r\n\r\n')],
  ] as const;

  it.each(listeners)('hears nothing in the clear either: one that %s', async (_what, answer) => {
    const received: Buffer[] = [];
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.on('data', (piece) => {
        received.push(piece);
        socket.write(answer(piece));
      });
    });
    const token = inviteBy(meshKey, [`${await listen(server)}/p2p/${ada.peerId}`]);
    await underWatch(async () => {
      expectRefusal(await joinWith('--join', token), /\n.*Check that a node/, 69);
    });
    expectNoSecret(token, received);
    expect(Buffer.concat(received).toString('latin1')).toContain('/multistream/1.0.0');
  });

  it('does not keep a newcomer from the honest address beside it', async () => {
    const impostor = await HostilePeer.start('tcp');
    onTestFinished(() => impostor.stop());
    const token = inviteBy(meshKey, [`${impostor.address}/p2p/${ada.peerId}`, ada.address('tcp')]);
    const newcomer = await MeshProcess.create('cleo');
    onTestFinished(() => newcomer.discard());
    await underWatch(async () => {
      await newcomer.start('--join', token);
      joined.add(newcomer.peerId);
    });
    expect(impostor.opened).toEqual([]);
  });

  /** A relay to `address` that keeps what passes towards it. */
  async function recordingRelay(address: string): Promise<{ address: string; received: Buffer[] }> {
    const port = Number(address.split('/')[4]);
    const received: Buffer[] = [];
    const server = createServer((socket) => {
      const onward = connect(port, '127.0.0.1');
      for (const end of [socket, onward]) {
        end.on('error', () => {
          socket.destroy();
          onward.destroy();
        });
      }
      socket.on('data', (piece) => received.push(piece));
      socket.pipe(onward).pipe(socket);
    });
    return { address: await listen(server), received };
  }

  /** The multiaddr at which a server listens from now on, until the test is over. */
  async function listen(server: Server): Promise<string> {
    onTestFinished(() => {
      server.close();
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    return `/ip4/127.0.0.1/tcp/${(server.address() as AddressInfo).port}`;
  }

  function expectNoSecret(token: string, received: readonly Buffer[]): void {
    const all = Buffer.concat(received);
    const { inviteSeed, grantBytes } = parseToken(token);
    expect(all.includes(Buffer.from(inviteSeed))).toBe(false);
    expect(all.includes(Buffer.from(grantBytes))).toBe(false);
    expect(all.includes(token.slice(0, 40))).toBe(false);
  }
});
