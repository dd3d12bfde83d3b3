import { afterEach, describe, expect, it } from 'vitest';
import { noBroadcast } from '../../../src/mesh/broadcast.ts';
import { Membership } from '../../../src/mesh/membership.ts';
import { Mesh } from '../../../src/mesh/mesh.ts';
import { noFacts } from '../../../src/mesh/record.ts';
import { issueCertificate } from '../../../src/trust/certificate.ts';
import { mayOpen, protocols } from '../../../src/trust/gate.ts';
import { createInvite, parseToken, redeem } from '../../../src/trust/invite.ts';
import { checkSignature, KeyPair, keyText } from '../../../src/trust/keys.ts';
import { MeshTrust } from '../../../src/trust/mesh-trust.ts';
import type { Role } from '../../../src/trust/roles.ts';
import { systemClock } from '../../../src/util/clock.ts';
import { silentLogger } from '../../../src/util/logging.ts';
import { systemRandom } from '../../../src/util/random.ts';
import { InProcessNetworks } from '../../support/in-process-network.ts';

const meshKey = KeyPair.fromSeed(systemRandom.bytes(32));
const meshId = keyText(meshKey.publicKey);
const issuer = { meshId, key: meshKey };
const running: Mesh[] = [];

afterEach(async () => {
  await Promise.all(running.splice(0).map((mesh) => mesh.stop()));
});

async function startMember(
  networks: InProcessNetworks,
  at: string | undefined,
  role: Role = 'serve',
  memory = '/memory/1',
) {
  const key = KeyPair.fromSeed(systemRandom.bytes(32));
  const trust = new MeshTrust({ meshId, check: checkSignature });
  const nowMs = systemClock.wallMs();
  const bootstrapPeer = at?.split('/p2p/');
  const certificate =
    at === undefined
      ? issueCertificate({ issuer, peerKey: key.publicKey, role: 'admin', nowMs })
      : redeem(
          parseToken(
            createInvite(
              { issuer, role, ttlMs: 60_000, maxUses: 4, strict: false, addresses: [at] },
              { random: systemRandom, nowMs },
            ).token,
          ),
          key,
          { nowMs },
        );
  // The gate is asked before the machine it asks exists.
  const parts: { membership?: Membership } = {};
  const network = networks.create({
    peerId: key.peerId,
    gate: (peer, protocol) =>
      protocol === protocols.join || mayOpen(parts.membership?.roleOf(peer), protocol),
  });
  const membership = new Membership({
    identity: key,
    meshId,
    trust,
    check: checkSignature,
    certificate,
    role: certificate.role,
    facts: { ...noFacts, name: 'node', version: '1.0.0', addresses: [] },
    bootstrap: bootstrapPeer === undefined ? [] : [{ peerId: bootstrapPeer[1] ?? '', addresses: [memory] }],
    isFounder: at === undefined,
    random: systemRandom,
  });
  parts.membership = membership;
  const mesh = new Mesh({
    membership,
    network,
    broadcast: noBroadcast,
    remember: async () => {},
    bootstrap: bootstrapPeer === undefined ? [] : [bootstrapPeer[1] ?? ''],
    isClient: role === 'client',
    clock: systemClock,
    log: silentLogger,
  });
  running.push(mesh);
  await mesh.start();
  return { key, mesh, network };
}

describe('two members over a network', () => {
  it.each(['serve', 'client'] as const)('join and see each other as %s', async (role) => {
    const networks = new InProcessNetworks();
    const founder = await startMember(networks, undefined);
    const newcomer = await startMember(networks, `/ip4/127.0.0.1/tcp/1/p2p/${founder.key.peerId}`, role);
    await newcomer.mesh.joined();
    await expect
      .poll(() =>
        founder.mesh
          .members()
          .map(({ record }) => record.peerId)
          .sort(),
      )
      .toEqual([founder.key.peerId, newcomer.key.peerId].sort());
    await expect.poll(() => newcomer.mesh.members().length).toBe(2);
  });

  it('a join ends with a reason when nobody is there', async () => {
    const networks = new InProcessNetworks();
    const stranger = KeyPair.fromSeed(systemRandom.bytes(32));
    const at = `/ip4/127.0.0.1/tcp/1/p2p/${stranger.peerId}`;
    const newcomer = await startMember(networks, at, 'serve', '/memory/99');
    await expect(newcomer.mesh.joined()).rejects.toMatchObject({ code: 'join_failed' });
  });
});
