// Who makes members and puts them out without the right to: a server, an admin that was revoked, and a revoked member
// that wants to come back. Five nodes; every one of them must come to the same end.
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { MeshFolder } from '../../src/node/mesh-folder.ts';
import { type Issuer, issueCertificate, readCertificate } from '../../src/trust/certificate.ts';
import { checkSignature, KeyPair, keyText, publicKeyOf } from '../../src/trust/keys.ts';
import { sealRevocation } from '../../src/trust/proofs.ts';
import { systemRandom } from '../../src/util/random.ts';
import { watched } from '../support/attack-watch.ts';
import {
  type Forger,
  forgeCertificate,
  forgeRedemption,
  recordOf,
  sealRecord,
} from '../support/forged-records.ts';
import { HostilePeer, refusalOf, say } from '../support/hostile-peer.ts';
import { freshKey, inviteBy, MeshProcess, type Path } from '../support/mesh-process.ts';
import { probed } from '../support/node-probe.ts';

/** Within this everybody has put out who was revoked. */
const revocationMs = 5_000;

let ada: MeshProcess;
let members: MeshProcess[];
let meshKey: Issuer;

/** The one transport that the nodes have. */
let path: Path;

async function startOver(transport: Path): Promise<void> {
  path = transport;
  ada = await probed(() => MeshProcess.started('ada', '--transport', path));
  members = [ada];
  meshKey = await ada.meshIssuer();
  members.push(...(await Promise.all(['bee', 'cleo', 'dan'].map((name) => newMember(name)))));
  await Promise.all(members.map((member) => member.shows(members.filter((other) => other !== member))));
}

async function stopAll(): Promise<void> {
  await Promise.all(members.map((member) => member.discard()));
}

/** A node that joins with a token of its own, which two more could use. */
async function newMember(name: string): Promise<MeshProcess> {
  return MeshProcess.started(name, '--transport', path, '--join', tokenFor(ada));
}

function tokenFor(at: MeshProcess): string {
  return inviteBy(meshKey, [at.address(path)], { maxUses: 3 });
}

/** What a member is in the mesh: its key and its certificate, out of its folder. */
async function standingOf({ home }: MeshProcess): Promise<Required<Forger>> {
  const folder = new MeshFolder(home);
  const saved = await folder.membership();
  if (saved === undefined) {
    throw new Error('It was expected that the node is a member.');
  }
  const { meshId, memory } = saved;
  const certificate = readCertificate(memory.certificate, meshId, checkSignature);
  return { meshId, key: KeyPair.fromSeed(await folder.identity(systemRandom)), certificate };
}

/** How each member refuses a peer that shows this certificate. */
function refusals(key: KeyPair, bytes: Uint8Array): Promise<string[]> {
  const shown = { bytes, meshId: meshKey.meshId };
  return Promise.all(members.map((member) => refusalOf(member.address(path), path, key, shown)));
}

const everybody = (code: string): string[] => members.map(() => code);

const underWatch = <T>(attack: () => Promise<T>, except: readonly string[] = []): Promise<T> =>
  watched({ victim: ada, witness: members[1] ?? ada }, attack, { except: new Set(except) });

describe.each<Path>(['quic', 'tcp'])('over %s', (transport) => {
  beforeAll(() => startOver(transport));
  afterAll(stopAll);

  describe('a member with the role serve', () => {
    it('cannot invite: it is told whom to ask', async () => {
      const [, bee] = members;
      const { exitCode, stdout, stderr } = (await bee?.run('invite')) ?? {};
      expect([exitCode, stdout]).toEqual([1, '']);
      expect(stderr).toMatch(/^meshnode: [^\n]+\.\n {2}Ask an admin[^\n]+\n$/);
      const asJson = await bee?.run('invite', '--json');
      expect(`${asJson?.stdout}${asJson?.stderr}`).toContain('role_forbidden');
    });

    it('makes nobody a member, by whatever it signs', () =>
      underWatch(async () => {
        const bee = await standingOf(members[1] ?? ada);
        const key = freshKey();
        const invalid = everybody('certificate_invalid');
        expect(await refusals(key, forgeCertificate(bee, key.publicKey))).toEqual(invalid);
        expect(await refusals(key, forgeRedemption(bee, key.publicKey))).toEqual(invalid);
        // Nor by passing for the mesh key.
        const { meshId } = bee;
        expect(await refusals(key, forgeCertificate({ meshId, key: bee.key }, key.publicKey))).toEqual(
          invalid,
        );
        // Nor with the certificate of another.
        expect(await refusals(key, bee.certificate.bytes)).toEqual(invalid);
      }));
  });

  describe('an admin that was revoked and dates back what it signs', () => {
    /** Just before its revocation: later than all that it could put out, earlier than what puts it out. */
    let datedMs: number;
    let mallory: Issuer & Required<Forger>;

    beforeAll(async () => {
      const key = freshKey();
      const { peerId } = key;
      const certificate = issueCertificate({
        issuer: meshKey,
        peerKey: key.publicKey,
        role: 'admin',
        nowMs: Date.now() - 60_000,
      });
      mallory = { meshId: meshKey.meshId, key, certificate };
      const peer = await HostilePeer.start(path, { key });
      const { gossip, link } = await peer.enter(ada.address(path), certificate);
      const record = recordOf(certificate, { name: 'mallory' });
      await say(gossip, { type: 'items', envelopes: [sealRecord(record, meshKey.meshId, key)] });
      const isKnown = async (): Promise<boolean[]> =>
        Promise.all(
          members.map(async (member) => (await member.table()).some((row) => row.peerId === peerId)),
        );
      await vi.waitFor(async () => expect(await isKnown()).not.toContain(false), { timeout: 10_000 });
      datedMs = Date.now();
      expect((await ada.run('revoke', 'mallory')).exitCode).toBe(0);
      await vi.waitFor(async () => expect(await isKnown()).not.toContain(true), { timeout: revocationMs });
      await link.cut();
      await peer.stop();
    });

    it('issues nothing that any member takes', () =>
      underWatch(async () => {
        const key = freshKey();
        const { bytes } = issueCertificate({
          issuer: mallory,
          peerKey: key.publicKey,
          role: 'serve',
          nowMs: datedMs,
        });
        expect(await refusals(key, bytes)).toEqual(everybody('certificate_revoked'));
        expect(await refusals(mallory.key, mallory.certificate.bytes)).toEqual(
          everybody('certificate_revoked'),
        );
      }));

    it('grants nothing: its newcomers are turned away everywhere', () =>
      underWatch(async () => {
        const ends = await Promise.all(
          members.map(async (member) => {
            const token = inviteBy(mallory, [member.address(path)], {
              nowMs: datedMs,
              ttlMs: 60 * 60_000,
            });
            const newcomer = await MeshProcess.create('nero');
            onTestFinished(() => newcomer.discard());
            const { exited, lines } = newcomer.launch('--join', token, '--json');
            return [await exited, lines.at(-1)?.['code'], await newcomer.leftovers()];
          }),
        );
        expect(ends).toEqual(members.map(() => [1, 'certificate_revoked', []]));
      }));

    it('revokes nobody, whoever brings its word', async () => {
      const messenger = await HostilePeer.start(path);
      onTestFinished(() => messenger.stop());
      await underWatch(async () => {
        const targets = members.slice(1).map(({ peerId }) => publicKeyOf(peerId) ?? new Uint8Array());
        const words = targets.map((peerKey) =>
          sealRevocation({ target: { peer: keyText(peerKey) }, atMs: datedMs, keep: new Set() }, mallory),
        );
        const standing = issueCertificate({
          issuer: meshKey,
          peerKey: messenger.key.publicKey,
          role: 'serve',
          nowMs: Date.now(),
        });
        const { gossip } = await messenger.enter(ada.address(path), standing);
        const skip = messenger.heard.length;
        await say(
          gossip,
          { type: 'items', envelopes: words.map(({ bytes }) => bytes) },
          { type: 'digest', root: new Uint8Array(8), items: 0 },
        );
        // Answered after the words were taken, or not.
        await messenger.hear('buckets', skip);
        for (const member of members) {
          await member.shows(members.filter((other) => other !== member));
        }
      });
    });
  });

  describe('a member that is revoked', () => {
    it('is out everywhere within five seconds, and cannot come back', async () => {
      const token = tokenFor(ada);
      const eve = await MeshProcess.started('eve', '--transport', path, '--join', token);
      onTestFinished(() => eve.discard());
      const five = [...members, eve];
      await Promise.all(five.map((member) => member.shows(five.filter((other) => other !== member))));
      const standing = await standingOf(eve);

      const startMs = performance.now();
      expect((await ada.run('revoke', 'eve')).exitCode).toBe(0);
      await Promise.all(members.map((member) => member.shows(members.filter((other) => other !== member))));
      const links = async (): Promise<number> =>
        (await eve.peers()).reduce((sum, { paths: open }) => sum + open.length, 0);
      await vi.waitFor(async () => expect(await links()).toBe(0), { timeout: revocationMs, interval: 20 });
      expect(performance.now() - startMs).toBeLessThan(revocationMs);
      expect(await eve.process.event('error')).toMatchObject({ code: 'certificate_revoked' });

      await eve.stop();

      await underWatch(async () => {
        // With its old certificate, at any member.
        expect(await refusals(standing.key, standing.certificate.bytes)).toEqual(
          everybody('certificate_revoked'),
        );
        // With its old token, in its old folder and in a new one.
        const flags = ['--json', '--transport', path, '--join', token];
        const again = eve.launch(...flags);
        expect(await again.event('error')).toMatchObject({ code: 'certificate_revoked' });
        const anew = await MeshProcess.create('eve');
        onTestFinished(() => anew.discard());
        const { exited, lines } = anew.launch(...flags);
        expect([await exited, lines.at(-1)?.['code']]).toEqual([1, 'certificate_revoked']);
        expect(await anew.leftovers()).toEqual([]);
      });
      for (const member of members) {
        expect((await member.table()).map(({ name }) => name)).not.toContain('eve');
      }
    });
  });
});
