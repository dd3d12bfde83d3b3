// What a node's owner does with its mesh: look at peers, invite, revoke, measure, leave. Fills the console's port
// over a running mesh part; signs with the mesh key where it is held, else as the admin that this node is.
import type { WantedFile } from '../console/cluster-port.ts';
import type {
  InviteRequest,
  InviteView,
  ManagedMesh,
  MeshStatus,
  PathFigures,
  PeerView,
  PingRequest,
  PingView,
  RevokedView,
} from '../console/mesh-port.ts';
import type { ListedModel } from '../dispatch/model-directory.ts';
import type { MemberView } from '../mesh/membership.ts';
import type { Link, PathKind } from '../net/network.ts';
import type { Cluster } from '../placement/cluster.ts';
import type { Issuer } from '../trust/certificate.ts';
import { createInvite, parseToken } from '../trust/invite.ts';
import type { KeyPair, PeerId } from '../trust/keys.ts';
import type { RevokeTarget } from '../trust/mesh-trust.ts';
import { isRedemption, readUse } from '../trust/proofs.ts';
import type { Clock } from '../util/clock.ts';
import { asMeshnodeError, MeshnodeError } from '../util/errors.ts';
import { trustLimits } from '../util/limits/trust.ts';
import type { Random } from '../util/random.ts';
import { meshCluster } from './cluster.ts';
import { measureThroughput } from './measure.ts';
import { issuerOf } from './mesh-entry.ts';
import type { MeshPart } from './mesh-part.ts';
import { meshSummary } from './mesh-summary.ts';
import { findPeer } from './peer-names.ts';
import { pathView, peerView } from './peer-view.ts';

export interface MeshDeskComponents {
  readonly identity: KeyPair;
  readonly clock: Clock;
  readonly random: Random;
  /** What can be asked for, on any node. */
  readonly models: () => readonly ListedModel[];
  /** Hears that the node has left. */
  readonly onLeft: () => void;
}

export class MeshDesk implements ManagedMesh {
  readonly #part: MeshPart;
  readonly #components: MeshDeskComponents;

  constructor(part: MeshPart, components: MeshDeskComponents) {
    this.#part = part;
    this.#components = components;
  }

  /** Undefined until the node listens. */
  status(): MeshStatus | undefined {
    if (!this.#part.isRunning) {
      return undefined;
    }
    const { meshId, role, state, expelled, entry } = this.#part;
    const { network, mesh, membership, watch } = this.#part.parts;
    const summary = meshSummary({
      members: mesh.members(),
      stateOf: (member) => watch.stateOf(member),
      models: this.#components.models(),
      wallMs: this.#components.clock.wallMs(),
    });
    return {
      meshId,
      role,
      state,
      ...summary,
      addresses: network.addresses(),
      holdsMeshKey: entry.meshKey !== undefined,
      certificateExpiresAt: new Date(membership.certificate.expiresMs).toISOString(),
      ...(expelled === undefined ? {} : { error: { code: expelled.code, message: expelled.message } }),
    };
  }

  async peers(): Promise<readonly PeerView[]> {
    return this.#others().map((member) => this.#peerView(member));
  }

  /** The mesh as a plan for this model wants it. Neighbours whose distance nobody has measured yet are measured first. */
  async cluster(wanted: WantedFile): Promise<Cluster> {
    const { mesh } = this.#part.parts;
    const members = mesh.members();
    const measured = await Promise.all(
      this.#others()
        .filter(({ isUp }) => isUp)
        .map(async ({ record: { peerId } }) => {
          const rttMs = mesh.vitals(peerId)?.rtt?.p50Ms ?? (await this.#part.rttMs(peerId));
          return rttMs === undefined ? [] : ([[peerId, rttMs]] as const);
        }),
    );
    return meshCluster(
      { self: this.#components.identity.peerId, members, ownRttMs: new Map(measured.flat()) },
      wanted,
    );
  }

  /** Whether this node may make members, and has an address to be found at. */
  get canInvite(): boolean {
    const { role, entry, parts } = this.#part;
    const issuer = issuerOf(entry, this.#components.identity, parts.membership.certificate);
    return role === 'admin' && issuer !== undefined && parts.network.addresses().length > 0;
  }

  invite({ role, ttlMs, uses, strict }: InviteRequest): InviteView {
    const { random, clock } = this.#components;
    const addresses = this.#part.fullAddresses().slice(0, trustLimits.tokenAddresses);
    if (addresses.length === 0) {
      throw new MeshnodeError('mesh_missing', 'This node has no address that another one could dial.', {
        hint: 'Connect it to a network, name an address with --announce, or stay on this machine with --bind 127.0.0.1.',
      });
    }
    const { token, inviteKey, expiresMs } = createInvite(
      { issuer: strict ? this.#ownIssuer() : this.#issuer(), role, ttlMs, maxUses: uses, strict, addresses },
      { random, nowMs: clock.wallMs() },
    );
    return { token, invite: inviteKey, role, uses, strict, expiresAt: new Date(expiresMs).toISOString() };
  }

  revoke(target: string): RevokedView {
    const invite = this.#inviteOf(target);
    if (invite !== undefined) {
      return { invite, statements: this.#revoke([{ inviteKey: invite }]) };
    }
    const { record, certificate } = this.#find(target);
    const { peerId, name } = record;
    if (peerId === this.#components.identity.peerId) {
      throw new MeshnodeError('invalid_request', 'That is this node itself; it goes with `meshnode leave`.');
    }
    const open =
      isRedemption(certificate) && this.#isOpen(certificate.invite) ? certificate.invite.key : undefined;
    const statements = this.#revoke([
      { peerKey: certificate.peerKey },
      ...(open === undefined ? [] : [{ inviteKey: open }]),
    ]);
    return { peer: { peerId, name }, statements, ...(open === undefined ? {} : { invite: open }) };
  }

  async ping({ peer, count, throughput }: PingRequest, signal: AbortSignal): Promise<PingView> {
    const { record } = this.#find(peer);
    const { peerId, name } = record;
    const links = this.#links(peerId);
    if (links.length === 0) {
      throw new MeshnodeError('peer_unreachable', `There is no link to ${name || peerId}.`);
    }
    const paths: PathFigures[] = [];
    // One after the other: measured together they would measure each other.
    for (const link of onePerPath(links)) {
      const figures = await this.#roundTrips(link, count, signal);
      const { path } = link;
      const bytesPerSecond = throughput ? await this.#throughput(peerId, path, signal) : undefined;
      paths.push({ ...figures, ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }) });
    }
    return { peerId, name, count, paths };
  }

  async leave(withKey: boolean): Promise<void> {
    if (this.#part.entry.meshKey !== undefined && !withKey) {
      throw new MeshnodeError(
        'mesh_key_at_risk',
        'This node holds the key of its mesh, and leaving deletes it. Without it nobody can revoke an admin, or renew the mesh.',
      );
    }
    await this.#part.leave();
    this.#components.onLeft();
  }

  #peerView(member: MemberView): PeerView {
    const { peerId } = member.record;
    const { mesh, watch, contacts } = this.#part.parts;
    return peerView(member, {
      name: watch.nameOf(member),
      state: watch.stateOf(member),
      links: this.#links(peerId),
      vitals: mesh.vitals(peerId),
      failure: contacts.failureOf(peerId),
      told: contacts.timeOf(peerId),
      nowMs: this.#components.clock.monotonicMs(),
    });
  }

  async #roundTrips(link: Link, count: number, signal: AbortSignal): Promise<PathFigures> {
    const { network } = this.#part.parts;
    const { peer, path } = link;
    const samples: number[] = [];
    for (let sample = 0; sample < count; sample++) {
      samples.push(await network.ping(peer, { path, signal }));
    }
    samples.sort((a, b) => a - b);
    return {
      ...pathView(link),
      rttMs: {
        p50: samples[samples.length >> 1] ?? Number.NaN,
        least: samples[0] ?? Number.NaN,
        most: samples.at(-1) ?? Number.NaN,
      },
    };
  }

  /** Undefined if the peer does not answer as one that can be measured. */
  async #throughput(peer: PeerId, path: PathKind, signal: AbortSignal): Promise<number | undefined> {
    const { clock } = this.#components;
    try {
      return await measureThroughput(this.#part.parts.network, { peer, path, clock, signal });
    } catch (thrown) {
      signal.throwIfAborted();
      const { code } = asMeshnodeError(thrown);
      if (code === 'stream_broken' || code === 'protocol_refused') {
        return undefined;
      }
      throw thrown;
    }
  }

  #others(): readonly MemberView[] {
    const self = this.#components.identity.peerId;
    return this.#part.parts.mesh.members().filter(({ record }) => record.peerId !== self);
  }

  #find(name: string): MemberView {
    const views = this.#part.parts.mesh.members();
    const peerId = findPeer(
      name,
      views.map(({ record }) => record),
    );
    const view = views.find(({ record }) => record.peerId === peerId);
    if (view === undefined) {
      throw new MeshnodeError('peer_unknown', `There is no peer ${peerId}.`);
    }
    return view;
  }

  #links(peer: PeerId): Link[] {
    return this.#part.parts.network.links().filter((link) => link.peer === peer);
  }

  /** As what this node signs; whether it may is for trust to say. */
  #issuer(): Issuer {
    const { meshId, meshKey } = this.#part.entry;
    return meshKey === undefined ? this.#ownIssuer() : { meshId, key: meshKey };
  }

  /** As itself: by a strict invite only whoever signed it admits, and the mesh key answers no door. */
  #ownIssuer(): Issuer {
    const { entry, parts } = this.#part;
    const { certificate } = parts.membership;
    return { meshId: entry.meshId, key: this.#components.identity, certificate };
  }

  /** Signs and spreads; returns how many statements that took. */
  #revoke(targets: readonly RevokeTarget[]): number {
    const { clock } = this.#components;
    const { mesh } = this.#part.parts;
    const issuer = this.#issuer();
    const members = mesh.members().map(({ certificate }) => certificate);
    const envelopes = targets.flatMap((target) =>
      this.#part.entry.trust.revoke(target, issuer, members, clock.wallMs()),
    );
    mesh.publish(envelopes.map(({ bytes }) => bytes));
    return envelopes.length;
  }

  /** The key of the invite that a text names: as a token, or by the key itself. */
  #inviteOf(text: string): string | undefined {
    if (/^[0-9a-f]{64}$/.test(text)) {
      return text;
    }
    if (!text.startsWith('mesh1')) {
      return undefined;
    }
    const { meshId, inviteKey } = parseToken(text);
    if (meshId !== this.#part.meshId) {
      throw new MeshnodeError('mesh_mismatch', 'That token is of another mesh.');
    }
    return inviteKey;
  }

  /** Whether an invite can admit one more. */
  #isOpen({
    grant,
    maxUses,
    grantExpiresMs,
  }: {
    grant: string;
    maxUses: number;
    grantExpiresMs: number;
  }): boolean {
    const { trust } = this.#part.entry;
    const uses = trust
      .items()
      .filter(({ kind }) => kind === 'use')
      .map((envelope) => readUse(envelope, (bytes) => trust.certificate(bytes)).certificate)
      .filter(({ invite }) => invite.grant === grant);
    const taken = new Set(uses.map(({ peerId }) => peerId)).size;
    return (
      taken < maxUses && this.#components.clock.wallMs() <= grantExpiresMs + trustLimits.clockToleranceMs
    );
  }
}

function onePerPath(links: readonly Link[]): Link[] {
  return [...new Map(links.map((link) => [link.path, link])).values()];
}
