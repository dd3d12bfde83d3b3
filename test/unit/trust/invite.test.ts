import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createInvite, type InviteOptions, parseToken, redeem } from '../../../src/trust/invite.ts';
import { keyText } from '../../../src/trust/keys.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { trustLimits } from '../../../src/util/limits/trust.ts';
import { seededRandom } from '../../../src/util/random.ts';
import { Token as Message } from '../../../src/wire/trust-messages.ts';
import { dayMs, keyNamed, madeMs, minuteMs, TestMesh } from '../../support/test-mesh.ts';
import { thrownBy } from '../../support/thrown.ts';

const mesh = new TestMesh();
const admin = mesh.issue('admin', 'admin');
const newcomer = keyNamed('newcomer');
const peer = keyNamed('bootstrap').peerId;

/** The fields of a token, and a token of other fields with a right checksum. */
const fieldsOf = (token: string) =>
  Message.decode(Buffer.from(token.slice('mesh1'.length), 'base64url').subarray(4));
function tokenOf(fields: object): string {
  const body = Message.encode(fields).finish();
  const checksum = createHash('sha256').update(body).digest().subarray(0, 4);
  return `mesh1${Buffer.concat([checksum, body]).toString('base64url')}`;
}

const refusal = (text: string): string => {
  const error = thrownBy(() => parseToken(text));
  expect(error.code).toBe('token_invalid');
  return error.message;
};

describe('a token', () => {
  const invite = mesh.invite({ by: admin, role: 'serve', maxUses: 3 });

  it('says what the invite says', () => {
    expect(parseToken(invite.token)).toMatchObject({
      meshId: mesh.meshId,
      role: 'serve',
      issuedMs: madeMs,
      expiresMs: madeMs + dayMs,
      maxUses: 3,
      strict: false,
      inviteKey: invite.inviteKey,
      inviterKey: admin.key.publicKey,
      addresses: [{ peerId: mesh.key.peerId, address: mesh.address() }],
    });
  });

  it('is read with blanks and line ends around it', () => {
    expect(parseToken(` ${invite.token}\r\n`)).toEqual(invite.parsed);
  });

  it('takes hosts by name, ports and QUIC', () => {
    const addresses = [
      `/dns4/gpu.example.org/tcp/4001/p2p/${peer}`,
      `/dns6/gpu.example.org/udp/4001/quic-v1/p2p/${peer}`,
      `/ip6/2001:db8::1/udp/9337/quic-v1/p2p/${peer}`,
    ];
    expect(mesh.invite({ addresses }).parsed.addresses).toEqual(
      addresses.map((address) => ({ peerId: peer, address })),
    );
  });

  it('fits the bound with the longest of everything', () => {
    const name = Array.from({ length: 4 }, () => 'a'.repeat(62)).join('.');
    const addresses = Array.from({ length: 8 }, () => `/dns4/${name}/udp/65535/quic-v1/p2p/${peer}`);
    expect(mesh.invite({ by: admin, addresses }).parsed.addresses).toHaveLength(8);
  });

  it('cut at any length, or with any character changed, is said to be not whole', () => {
    for (let index = 'mesh1'.length; index < invite.token.length; index++) {
      const other = invite.token[index] === 'A' ? 'B' : 'A';
      const mistyped = invite.token.slice(0, index) + other + invite.token.slice(index + 1);
      expect(refusal(invite.token.slice(0, index))).toContain('not whole');
      expect(refusal(mistyped)).toContain('not whole');
    }
  });

  it.each(['', 'mesh', 'mesh2abc', 'hello', 'MESH1', '12D3KooW'])('is not "%s"', (text) => {
    expect(refusal(text)).toContain('mesh1');
  });

  it('with any byte behind its checksum forged is refused', () => {
    const body = Buffer.from(invite.token.slice('mesh1'.length), 'base64url').subarray(4);
    const { addresses } = fieldsOf(invite.token);
    // An address names nothing secret: changed, it leads nowhere or to a node that cannot prove its key.
    const signedBytes = body.length - Buffer.byteLength(addresses[0] ?? '');
    for (let index = 0; index < signedBytes; index++) {
      const forged = Buffer.from(body);
      forged[index] = (forged[index] ?? 0) ^ (1 << (index % 8));
      const checksum = createHash('sha256').update(forged).digest().subarray(0, 4);
      refusal(`mesh1${Buffer.concat([checksum, forged]).toString('base64url')}`);
    }
  });

  it.each<[string, object, string]>([
    ['signed by a stranger', { issuer: new Uint8Array() }, 'neither by the mesh key'],
    ['with the certificate of another admin', { issuer: mesh.founder.certificate.bytes }, 'another key'],
    [
      'with a certificate of another mesh',
      { issuer: new TestMesh('other').founder.certificate.bytes },
      'another mesh',
    ],
    ['with the secret of another invite', { inviteSeed: newcomer.seed }, 'another invite'],
    ['with a secret of the wrong size', { inviteSeed: new Uint8Array(16) }, 'key'],
    ['without an invite', { grant: new Uint8Array() }, 'kind'],
    ['without addresses', { addresses: [] }, 'no node'],
    ['of nine addresses', { addresses: Array.from({ length: 9 }, () => mesh.address()) }, '9 addresses'],
    ['of an address without a peer', { addresses: ['/ip4/10.0.0.1/tcp/4001'] }, '/p2p/'],
    ['of a peer without an address', { addresses: [`/p2p/${peer}`] }, '/p2p/'],
    ['of an address behind a peer', { addresses: [`/p2p/${peer}/tcp/1`] }, '/p2p/'],
    [
      'of a peer with another kind of key',
      { addresses: ['/ip4/10.0.0.1/tcp/1/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N'] },
      '/p2p/',
    ],
    ['of text for an address', { addresses: ['http://10.0.0.1'] }, '/p2p/'],
    ['of a very long address', { addresses: [`/dns4/${'a'.repeat(400)}/tcp/1/p2p/${peer}`] }, '/p2p/'],
  ])('%s is refused', (_what, change, reason) => {
    expect(refusal(tokenOf({ ...fieldsOf(invite.token), ...change }))).toContain(reason);
  });

  it('of 10 000 addresses is refused before it is read', () => {
    const addresses = Array.from({ length: 10_000 }, () => mesh.address());
    expect(refusal(tokenOf({ ...fieldsOf(invite.token), addresses }))).toContain('too long');
  });

  it('of random text and random fields is refused with one of our errors', () => {
    const texts = fc.oneof(
      fc.string({ maxLength: 200 }),
      fc.string({ maxLength: 200 }).map((rest) => `mesh1${rest}`),
      fc.uint8Array({ maxLength: 300 }).map((body) => {
        const checksum = createHash('sha256').update(body).digest().subarray(0, 4);
        return `mesh1${Buffer.concat([checksum, body]).toString('base64url')}`;
      }),
    );
    fc.assert(
      fc.property(texts, (text) => {
        expect(thrownBy(() => parseToken(text))).toBeInstanceOf(MeshnodeError);
      }),
      { numRuns: 500 },
    );
  });
});

describe('an invite', () => {
  const make = (change: Partial<InviteOptions>) => () =>
    createInvite(
      {
        issuer: mesh.issuer,
        role: 'serve',
        ttlMs: dayMs,
        maxUses: 1,
        strict: false,
        addresses: [mesh.address()],
        ...change,
      },
      { random: seededRandom(1), nowMs: madeMs },
    );

  it('is made by the mesh key and its direct admins, by nobody else', () => {
    expect(make({ issuer: mesh.issuerOf(admin) })().role).toBe('serve');
    const others = [
      mesh.issue('client', 'client'),
      mesh.issue('server', 'serve'),
      mesh.issue('deep admin', 'admin', { by: admin }),
    ];
    for (const member of others) {
      expect(thrownBy(make({ issuer: mesh.issuerOf(member) })).code).toBe('role_forbidden');
    }
  });

  it.each<[string, Partial<InviteOptions>]>([
    ['no life', { ttlMs: 0 }],
    ['too long a life', { ttlMs: trustLimits.inviteLifeMs + 1 }],
    ['half a use', { maxUses: 0.5 }],
    ['no use', { maxUses: 0 }],
    ['too many uses', { maxUses: trustLimits.inviteUses + 1 }],
    ['no address', { addresses: [] }],
    ['an address without a peer', { addresses: ['/ip4/127.0.0.1/tcp/1'] }],
  ])('with %s is not made', (_what, change) => {
    expect(thrownBy(make(change)).code).toBe('invalid_request');
  });

  it('shows no secret but in its token', () => {
    const { token, ...shown } = make({})();
    const { inviteSeed } = parseToken(token);
    expect(JSON.stringify(shown)).not.toContain(keyText(inviteSeed));
  });
});

describe('redeeming an invite', () => {
  const { parsed } = mesh.invite({ by: admin });

  it('gives the newcomer a certificate without asking anybody', () => {
    const certificate = redeem(parsed, newcomer, { nowMs: madeMs + minuteMs });
    expect(certificate).toMatchObject({
      peerId: newcomer.peerId,
      role: 'serve',
      issuedMs: madeMs + minuteMs,
    });
    expect(certificate.invite?.key).toBe(parsed.inviteKey);
  });

  it('can ask for less than it grants, not for more', () => {
    expect(redeem(parsed, newcomer, { nowMs: madeMs, role: 'client' }).role).toBe('client');
    const more = () => redeem(parsed, newcomer, { nowMs: madeMs, role: 'admin' });
    expect(thrownBy(more).code).toBe('role_forbidden');
  });

  it('puts up with clocks five minutes apart at either end, not more', () => {
    const atEnd = redeem(parsed, newcomer, { nowMs: parsed.expiresMs + 5 * minuteMs });
    expect(atEnd.issuedMs).toBe(parsed.expiresMs);
    expect(redeem(parsed, newcomer, { nowMs: madeMs - 5 * minuteMs }).role).toBe('serve');
    const late = () => redeem(parsed, newcomer, { nowMs: parsed.expiresMs + 5 * minuteMs + 1 });
    expect(thrownBy(late).code).toBe('token_expired');
    const early = () => redeem(parsed, newcomer, { nowMs: madeMs - 5 * minuteMs - 1 });
    expect(thrownBy(early).code).toBe('clock_skewed');
  });
});
