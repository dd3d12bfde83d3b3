// Members of a mesh on real hosts over TCP: network, membership and gossipsub as in a node, and nothing else of one.
import type { Broadcast } from '../../src/mesh/broadcast.ts';
import { GossipsubBroadcast } from '../../src/mesh/gossipsub-broadcast.ts';
import { Membership } from '../../src/mesh/membership.ts';
import { Mesh } from '../../src/mesh/mesh.ts';
import type { LocalFacts } from '../../src/mesh/record.ts';
import type { Libp2pHost } from '../../src/net/host.ts';
import type { ServiceFactory } from '../../src/net/libp2p-node.ts';
import { type Issuer, issueCertificate } from '../../src/trust/certificate.ts';
import { mayOpen } from '../../src/trust/gate.ts';
import { createInvite, parseToken, redeem } from '../../src/trust/invite.ts';
import { checkSignature, KeyPair, keyText } from '../../src/trust/keys.ts';
import { MeshTrust } from '../../src/trust/mesh-trust.ts';
import { systemClock } from '../../src/util/clock.ts';
import { silentLogger } from '../../src/util/logging.ts';
import { systemRandom } from '../../src/util/random.ts';
import { testHost } from './test-host.ts';

export interface GossipMember {
  readonly host: Libp2pHost;
  readonly mesh: Mesh;
  /** With `/p2p`, for an invite. */
  readonly address: string;
}

export interface GossipMemberOptions {
  /** How it comes in: by making the mesh, or with a token. */
  readonly entry: { readonly meshKey: KeyPair } | { readonly token: string };
  readonly facts: (addresses: readonly string[]) => LocalFacts;
  /** To look on. */
  readonly aroundBroadcast?: (broadcast: Broadcast) => Broadcast;
  readonly aroundService?: (service: ServiceFactory) => ServiceFactory;
}

/** A token for twenty-odd servers, by the mesh key. */
export function inviteTo(meshKey: KeyPair, address: string): string {
  const { token } = createInvite(
    {
      issuer: issuerOf(meshKey),
      role: 'serve',
      ttlMs: 3_600_000,
      maxUses: 32,
      strict: false,
      addresses: [address],
    },
    { random: systemRandom, nowMs: systemClock.wallMs() },
  );
  return token;
}

/** A member that takes part; `mesh.joined()` says when it is in. */
export async function startGossipMember({
  entry,
  facts,
  aroundBroadcast = (broadcast) => broadcast,
  aroundService = (service) => service,
}: GossipMemberOptions): Promise<GossipMember> {
  const identity = KeyPair.fromSeed(systemRandom.bytes(32));
  const { meshId, certificate, bootstrap } = standing(identity, entry);
  let membership: Membership | undefined;
  const gate = (peer: string, protocol: string): boolean => mayOpen(membership?.roleOf(peer), protocol);
  const gossipsub = new GossipsubBroadcast({ gate, clock: systemClock, log: silentLogger });
  const services = { gossipsub: aroundService(gossipsub.service) };
  const host = await testHost({ keySeed: identity.seed, gate, services });
  membership = new Membership({
    identity,
    meshId,
    trust: new MeshTrust({ meshId, check: checkSignature }),
    check: checkSignature,
    certificate,
    role: certificate.role,
    facts: facts(host.addresses()),
    bootstrap,
    isFounder: 'meshKey' in entry,
    random: systemRandom,
  });
  const mesh = new Mesh({
    membership,
    network: host,
    broadcast: aroundBroadcast(gossipsub),
    remember: async () => {},
    bootstrap: bootstrap.map(({ peerId }) => peerId),
    isClient: false,
    clock: systemClock,
    log: silentLogger,
  });
  await mesh.start();
  return { host, mesh, address: `${host.addresses()[0]}/p2p/${host.peerId}` };
}

function standing(identity: KeyPair, entry: GossipMemberOptions['entry']) {
  const nowMs = systemClock.wallMs();
  if ('meshKey' in entry) {
    const issuer = issuerOf(entry.meshKey);
    const certificate = issueCertificate({ issuer, peerKey: identity.publicKey, role: 'admin', nowMs });
    return { meshId: issuer.meshId, certificate, bootstrap: [] };
  }
  const token = parseToken(entry.token);
  return {
    meshId: token.meshId,
    certificate: redeem(token, identity, { nowMs }),
    bootstrap: token.addresses.map(({ peerId, address }) => ({ peerId, addresses: [address] })),
  };
}

function issuerOf(meshKey: KeyPair): Issuer {
  return { meshId: keyText(meshKey.publicKey), key: meshKey };
}
