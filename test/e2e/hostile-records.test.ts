// Lies that a member tells: about others, about itself, about the time and about nodes that are none. What it says
// goes to one node; a second must hear of it only what is true, and a third watches what that second passes on.
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { sealDeath } from '../../src/mesh/death.ts';
import { noFacts, type PeerRecord, type RecordModel } from '../../src/mesh/record.ts';
import { type Certificate, type Issuer, issueCertificate } from '../../src/trust/certificate.ts';
import { readEnvelope, seal } from '../../src/trust/envelope.ts';
import { type KeyPair, peerIdOf } from '../../src/trust/keys.ts';
import type { Role } from '../../src/trust/roles.ts';
import { systemClock } from '../../src/util/clock.ts';
import { meshLimits, meshMessageLimits, recordLimits } from '../../src/util/limits/mesh.ts';
import { trustLimits } from '../../src/util/limits/trust.ts';
import { watched } from '../support/attack-watch.ts';
import { forgeCertificate, payloadOf, recordOf, sealRecord } from '../support/forged-records.ts';
import { type AdmittedPeer, dealtWith, HostilePeer, sameBytes, say } from '../support/hostile-peer.ts';
import { freshKey, inviteBy, MeshProcess, type Path, strangeIssuer } from '../support/mesh-process.ts';
import { probed } from '../support/node-probe.ts';

const dayMs = 24 * 3_600_000;

/** Hears the lies. */
let ada: MeshProcess;
/** Hears what ada passes on. */
let bee: MeshProcess;
let meshKey: Issuer;
/** Watches what bee passes on; says nothing itself. */
let watcher: HostilePeer;
/** Everybody who was made a member: what they say of themselves may be in a table. */
const enrolled = new Set<string>();

/** A mesh in which everything goes over `path`, the lies and what is passed on of them. */
async function startOver(path: Path): Promise<void> {
  const flags = ['--transport', path];
  ada = await probed(() => MeshProcess.started('ada', ...flags));
  meshKey = await ada.meshIssuer();
  bee = await MeshProcess.started('bee', ...flags, '--join', inviteBy(meshKey, [ada.address(path)]));
  await Promise.all([ada.shows([bee]), bee.shows([ada])]);
  watcher = await HostilePeer.start(path);
  await watcher.enter(bee.address(path), certify(watcher.key));
}

async function stopAll(): Promise<void> {
  await Promise.all([ada?.discard(), bee?.discard(), watcher?.stop()]);
}

function certify(key: KeyPair, role: Role = 'serve'): Certificate {
  enrolled.add(key.peerId);
  return issueCertificate({ issuer: meshKey, peerKey: key.publicKey, role, nowMs: Date.now() });
}

/** A member that lies, connected to ada. */
interface Liar extends AdmittedPeer {
  readonly key: KeyPair;
  readonly certificate: Certificate;
  /** Sends envelopes, and resolves once what of them is passed on has come to the watcher. */
  tell(...envelopes: readonly Uint8Array[]): Promise<void>;
}

async function liar(role: Role = 'serve'): Promise<Liar> {
  const { path } = watcher;
  const peer = await HostilePeer.start(path);
  onTestFinished(() => peer.stop());
  const certificate = certify(peer.key, role);
  const admitted = await peer.enter(ada.address(path), certificate);
  const tell = async (...envelopes: readonly Uint8Array[]): Promise<void> => {
    const truth = farewell();
    await say(admitted.gossip, { type: 'items', envelopes: [...envelopes, truth] });
    await watcher.hearEnvelope(truth);
  };
  return { ...admitted, key: peer.key, certificate, tell };
}

/** The true word of a member that leaves before it was heard of: every node passes it on at once, in its turn. */
function farewell(): Uint8Array {
  const key = freshKey();
  return sealRecord(recordOf(certify(key), { name: '', version: '', left: true }), meshKey.meshId, key);
}

/** The record of a member that is not there itself. */
function absentee(name: string): { key: KeyPair; say: (said?: Partial<PeerRecord>) => Uint8Array } {
  const key = freshKey();
  const certificate = certify(key);
  return {
    key,
    say: (said) => sealRecord(recordOf(certificate, { name, ...said }), meshKey.meshId, key),
  };
}

function isPassedOn(envelope: Uint8Array): boolean {
  return watcher.envelopes.some((heard) => sameBytes(heard, envelope));
}

async function namesShown(): Promise<string[][]> {
  const tables = await Promise.all([ada.table(), bee.table()]);
  return tables.map((rows) => rows.map(({ name }) => name));
}

/** Tells ada what it must not believe: no table changes, nothing is passed on. */
async function isNotBelieved(from: Liar, ...lies: readonly Uint8Array[]): Promise<void> {
  const before = await namesShown();
  await from.tell(...lies);
  expect(lies.filter(isPassedOn)).toEqual([]);
  expect((await namesShown()).map((names) => names.filter((name) => name !== ''))).toEqual(
    before.map((names) => names.filter((name) => name !== '')),
  );
}

const underWatch = (attack: () => Promise<void>): Promise<void> =>
  watched({ victim: ada, witness: bee }, attack, { except: enrolled });

describe.each<Path>(['quic', 'tcp'])('over %s', (path) => {
  beforeAll(() => startOver(path));
  afterAll(stopAll);

  describe('what is said of somebody else', () => {
    /** The record that bee has signed last. */
    const ofBee = (): Uint8Array => {
      const envelope = watcher.envelopes
        .map((bytes) => readEnvelope(bytes, meshKey.meshId))
        .findLast(({ kind, signer }) => kind === 'record' && peerIdOf(signer) === bee.peerId);
      return envelope?.bytes ?? expect.unreachable('bee has shown its record');
    };

    it('is not believed if it is signed anew', () =>
      underWatch(async () => {
        const from = await liar();
        const { payload, signer, meshId } = readEnvelope(ofBee(), meshKey.meshId);
        const resigned = seal('record', meshId, payload, from.key).bytes;
        const inItsName = seal('record', meshId, payload, signingAs(signer, from.key)).bytes;
        const changed = ofBee().slice();
        changed[changed.length >> 1] = (changed[changed.length >> 1] ?? 0) ^ 1;
        await isNotBelieved(from, resigned, inItsName, changed);
      }));

    /** A key that signs with its own private half and shows the public one of somebody else. */
    function signingAs(publicKey: Uint8Array, key: KeyPair): KeyPair {
      return Object.create(key, {
        publicKey: { value: publicKey },
        sign: { value: (message: Uint8Array) => key.sign(message) },
      });
    }

    it('does not count if it is old news', () =>
      underWatch(async () => {
        const from = await liar();
        const dora = absentee('dora');
        const [oldest, older, newest] = [
          dora.say({ name: 'dora-at-first', epoch: 1, sequence: 7 }),
          dora.say({ name: 'dora-before', epoch: 2, sequence: 3 }),
          dora.say({ epoch: 2, sequence: 4 }),
        ];
        await from.tell(newest);
        expect((await namesShown()).map((names) => names.includes('dora'))).toEqual([true, true]);
        await isNotBelieved(from, oldest, older);
        await from.tell(dora.say({ name: 'dora-again', epoch: 3, sequence: 0 }));
        expect((await namesShown())[0]).toContain('dora-again');
      }));

    it('that it is dead, counts for nothing from one liar, and is not heard above the rate', () =>
      underWatch(async () => {
        const from = await liar();
        const dora = absentee('dana');
        await from.tell(dora.say(), sealRecord(recordOf(from.certificate), meshKey.meshId, from.key));
        const everybody = [ada.peerId, bee.peerId, dora.key.peerId];
        const invented = Array.from({ length: 30 }, () => freshKey().peerId);
        const notices = [...everybody, ...invented].map((subject) => deathOf(subject, from.key));
        await from.tell(...notices);
        const heard = notices.filter(isPassedOn);
        expect(heard.length).toBeGreaterThan(0);
        expect(heard.length).toBeLessThanOrEqual(meshLimits.deathsPerMinute);
        const states = (await ada.table()).filter(({ peerId }) => everybody.includes(peerId));
        expect(states.map(({ state }) => state)).toEqual(['joined', 'joined']);
      }));

    it('or of oneself, that one is dead, is not heard, nor from a stranger', () =>
      underWatch(async () => {
        const from = await liar();
        await from.tell(sealRecord(recordOf(from.certificate), meshKey.meshId, from.key));
        const notYetHeardOf = freshKey();
        certify(notYetHeardOf);
        await isNotBelieved(
          from,
          deathOf(from.key.peerId, from.key),
          deathOf(bee.peerId, freshKey()),
          deathOf(bee.peerId, notYetHeardOf),
        );
      }));

    function deathOf(subject: string, author: KeyPair): Uint8Array {
      const atMs = Date.now();
      const death = { subject, epoch: 1, sequence: 1_000, atMs, expiresMs: atMs + 120_000 };
      return sealDeath(death, meshKey.meshId, author).bytes;
    }
  });

  describe('what is said of oneself', () => {
    const model: RecordModel = {
      name: 'free-model',
      digest: undefined,
      attached: false,
      state: 'ready',
      kind: 'chat',
      sizeBytes: 1,
      contextTokens: 1,
      slots: 1,
      architecture: undefined,
      quantisation: undefined,
      abilities: [],
    };
    const lies: readonly [what: string, said: (nowMs: number) => Partial<PeerRecord>, role?: Role][] = [
      ['yesterday', (nowMs) => ({ issuedMs: nowMs - dayMs, expiresMs: nowMs - dayMs + 120_000 })],
      ['next year', (nowMs) => ({ issuedMs: nowMs + 365 * dayMs, expiresMs: nowMs + 365 * dayMs + 1 })],
      ['for a year', (nowMs) => ({ expiresMs: nowMs + 365 * dayMs })],
      ['with an end before its beginning', (nowMs) => ({ expiresMs: nowMs - 1 })],
      ['with an epoch that is no safe integer', () => ({ epoch: 2 ** 53 })],
      ['with an epoch of none', () => ({ epoch: 0 })],
      ['with a sequence that is no safe integer', () => ({ sequence: 2 ** 60 })],
      ['as an admin without being one', () => ({ role: 'admin' })],
      ['as a server by a client', () => ({ role: 'serve' }), 'client'],
      ['with models by a client', () => ({ models: [model] }), 'client'],
      ['with a device to lend by a client', () => ({ rpcBuild: 'b1' }), 'client'],
      ['with a model twice', () => ({ models: [model, model] })],
      ['with the certificate of another mesh', () => ({ certificate: foreignCertificate() })],
      ['with models after it has left', () => ({ left: true, models: [model] })],
      ['with an address that is none', () => ({ addresses: ['127.0.0.1:22'] })],
      ['with a name of ten thousand letters', () => ({ name: 'm'.repeat(10_000) })],
      ['with a thousand addresses', () => ({ addresses: manyAddresses(1_000) })],
    ];

    it.each(lies)('%s, is not believed', (_what, said, role = 'serve') =>
      underWatch(async () => {
        const from = await liar(role);
        const record = recordOf(from.certificate, said(Date.now()));
        await isNotBelieved(from, sealRecord(record, meshKey.meshId, from.key));
      }),
    );

    it('in the largest epoch there is, is believed, and nobody else suffers', () =>
      underWatch(async () => {
        const from = await liar();
        const last = { epoch: Number.MAX_SAFE_INTEGER, sequence: Number.MAX_SAFE_INTEGER };
        const record = recordOf(from.certificate, { name: 'methuselah', ...last });
        const envelope = sealRecord(record, meshKey.meshId, from.key);
        await from.tell(envelope);
        expect(isPassedOn(envelope)).toBe(true);
        expect((await namesShown()).map((names) => names.includes('methuselah'))).toEqual([true, true]);
      }));

    it('in words of a later version, is passed on as it came, byte for byte', () =>
      underWatch(async () => {
        const from = await liar();
        const { meshId } = meshKey;
        // Field 200 with three bytes, field 201 with a number.
        const unknown = Uint8Array.of(0xc2, 0x0c, 3, 1, 2, 3, 0xc8, 0x0c, 42);
        const payload = Buffer.concat([
          payloadOf(recordOf(from.certificate, { name: 'futura', features: ['telepathy'] })),
          unknown,
        ]);
        const envelope = seal('record', meshId, payload, from.key).bytes;
        await from.tell(envelope);
        expect(isPassedOn(envelope)).toBe(true);
        expect((await namesShown()).map((names) => names.includes('futura'))).toEqual([true, true]);
      }));

    it('and asked for thousands of times at once, costs no more than what is read of it', () =>
      underWatch(async () => {
        const from = await liar();
        const long = Buffer.concat([
          payloadOf(recordOf(from.certificate, { name: 'long' })),
          unknownField(30_000),
        ]);
        const record = seal('record', meshKey.meshId, long, from.key).bytes;
        await from.tell(record);
        const skip = from.peer.heard.length;
        await say(from.gossip, { type: 'buckets', hashes: new Uint8Array(2048) });
        const { entries } = await from.peer.hear('entries', skip);
        const keys = entries.map(({ key }) => key);
        const most = Array.from({ length: meshMessageLimits.want }, (_, index) => keys[index % keys.length]);
        const wanted = { type: 'want', keys: most.filter((key) => key !== undefined) } as const;
        for (let round = 0; round < 20; round++) {
          await say(from.gossip, wanted).catch(() => {});
        }
        await dealtWith(from);
      }));

    it('at greater length than a record may have, is not believed', () =>
      underWatch(async () => {
        const from = await liar();
        const payload = Buffer.concat([
          payloadOf(recordOf(from.certificate)),
          unknownField(recordLimits.payloadBytes),
        ]);
        await isNotBelieved(from, seal('record', meshKey.meshId, payload, from.key).bytes);
      }));

    it('at greater length than anything signed may have, costs the connection', () =>
      underWatch(async () => {
        const from = await liar();
        const payload = Buffer.concat([
          payloadOf(recordOf(from.certificate)),
          unknownField(trustLimits.envelopeBytes),
        ]);
        const envelope = seal('record', meshKey.meshId, payload, from.key).bytes;
        await say(from.gossip, { type: 'items', envelopes: [envelope] });
        await from.link.cut();
        expect(isPassedOn(envelope)).toBe(false);
      }));

    /** A field that this version does not know, with so many bytes. */
    function unknownField(bytes: number): Uint8Array {
      const length = [(bytes & 0x7f) | 0x80, ((bytes >> 7) & 0x7f) | 0x80, bytes >> 14];
      return Buffer.concat([Uint8Array.of(0xc2, 0x0c, ...length), new Uint8Array(bytes)]);
    }

    function foreignCertificate(): Uint8Array {
      const key = freshKey();
      const issuer = strangeIssuer();
      return issueCertificate({ issuer, peerKey: key.publicKey, role: 'serve', nowMs: Date.now() }).bytes;
    }

    function manyAddresses(count: number): string[] {
      return Array.from({ length: count }, (_, index) => `/ip4/10.0.${index >> 8}.${index & 255}/tcp/1`);
    }
  });

  describe('invented nodes', () => {
    /** Envelopes of one message. */
    const atOnce = 250;
    const strange = strangeIssuer();

    interface Kind {
      readonly what: string;
      readonly count: number;
      readonly certificate: (key: KeyPair, of: Liar) => Uint8Array;
    }
    const kinds: readonly Kind[] = [
      { what: 'without certificates', count: 2_500, certificate: () => new Uint8Array() },
      {
        what: 'with certificates of a mesh that they made',
        count: 2_500,
        certificate: (key) => madeBy(strange, key),
      },
      {
        what: 'with the certificate of who tells of them',
        count: 2_500,
        certificate: (_, { certificate }) => certificate.bytes,
      },
      // What costs a node most: both signatures are good, only the signer is nobody.
      {
        what: 'with certificates that they signed in the name of the mesh',
        count: 10_000,
        certificate: forgedByThemselves,
      },
    ];

    it.each(kinds)('$count of them $what, are not believed', async ({ count, certificate }) => {
      const from = await liar();
      const envelopes = Array.from({ length: count }, () => {
        const key = freshKey();
        return inventedRecord(key, certificate(key, from));
      });
      await underWatch(async () => {
        let { link, gossip } = from;
        for (let sent = 0; sent < count; sent += atOnce) {
          if (!link.isOpen) {
            ({ link, gossip } = await from.peer.enter(ada.address(path), from.certificate));
          }
          await say(gossip, { type: 'items', envelopes: envelopes.slice(sent, sent + atOnce) }).catch(
            () => {},
          );
        }
        // All of them have been looked at once what came after them is answered, or the liar is cut off.
        const skip = from.peer.heard.length;
        await say(gossip, { type: 'digest', root: new Uint8Array(8), items: 0 }).catch(() => {});
        await Promise.race([from.peer.hear('buckets', skip), link.cut()]);
        await (await liar()).tell();
        expect(envelopes.filter(isPassedOn)).toEqual([]);
        expect((await namesShown()).flat()).not.toContain('nobody');
      });
    });

    it('the same one again and again costs the liar its connection', () =>
      underWatch(async () => {
        const from = await liar();
        const key = freshKey();
        const lie = inventedRecord(key, forgedByThemselves(key));
        const message = { type: 'items', envelopes: Array.from({ length: atOnce }, () => lie) } as const;
        const endMs = systemClock.monotonicMs() + 2_000;
        while (from.link.isOpen && systemClock.monotonicMs() < endMs) {
          await say(from.gossip, message).catch(() => {});
        }
        await from.link.cut();
      }));

    function madeBy(issuer: Issuer, key: KeyPair): Uint8Array {
      return issueCertificate({ issuer, peerKey: key.publicKey, role: 'serve', nowMs: Date.now() }).bytes;
    }

    function forgedByThemselves(key: KeyPair): Uint8Array {
      return forgeCertificate({ meshId: meshKey.meshId, key }, key.publicKey);
    }

    function inventedRecord(key: KeyPair, certificate: Uint8Array): Uint8Array {
      const nowMs = Date.now();
      const times = { issuedMs: nowMs, expiresMs: nowMs + 60_000 };
      const record: PeerRecord = {
        ...noFacts,
        ...{ name: 'nobody', version: '1', peerId: key.peerId, epoch: 1, sequence: 0, ...times },
        ...{ certificate, left: false, role: 'serve' },
      };
      return sealRecord(record, meshKey.meshId, key);
    }
  });
});
