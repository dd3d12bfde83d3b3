// A mesh with one peer that remembers what it was asked, and a node around it, for the management API and the
// commands that talk to it.
import type { ManagedNode } from '../../src/console/console.ts';
import type {
  InviteRequest,
  InviteView,
  ManagedMesh,
  MeshStatus,
  PeerView,
  PingRequest,
  PingView,
  RevokedView,
} from '../../src/console/mesh-port.ts';
import { MeshnodeError } from '../../src/util/errors.ts';

const bee = { peerId: '12D3KooWBWN8RWWpf1yNXaFcoKirgeTR6iCrUCXTqKpxo3DLz2KA', name: 'bee' };
const path = { path: 'tcp', direction: 'inbound', remoteAddress: '/ip4/192.0.2.1/tcp/1' } as const;

export const meshStatus: MeshStatus = {
  meshId: 'ab'.repeat(32),
  role: 'admin',
  state: 'member',
  members: 2,
  suspect: 0,
  dead: 0,
  usableBytes: 3 * 1024 ** 3,
  models: [{ name: 'demo', stage: 'ready', replicas: 1, kinds: ['chat'], contextTokens: 512 }],
  wanted: [],
  addresses: ['/ip4/192.0.2.2/tcp/9338'],
  holdsMeshKey: true,
  certificateExpiresAt: '2026-04-01T00:00:00.000Z',
};

export const beeView: PeerView = {
  ...bee,
  ...({ role: 'serve', state: 'joined', paths: [path] } as const),
  ...{ rttMs: 1.5, rttP95Ms: 2.5, heardMsAgo: 400 },
  load: [{ model: 'demo', inFlight: 2, queued: 1, slots: 4, tokensPerSecond: 20 }],
  ...{ loadAgeMs: 400, clockAheadMs: -3, clockAgeMs: 9_000 },
  certificateExpiresAt: '2026-04-01T00:00:00.000Z',
  ...{ version: '1.0.0', features: [], addresses: [], devices: [] },
  models: [{ name: 'demo', state: 'ready' }],
};

export class MeshDouble implements ManagedMesh {
  /** What it shows of its peers. */
  shown: readonly PeerView[] = [beeView];
  /** What the node around it shows of it. */
  status: MeshStatus = meshStatus;
  readonly asked: string[] = [];
  /** Thrown by whatever is asked next. */
  failure: MeshnodeError | undefined;

  async peers(): Promise<readonly PeerView[]> {
    return this.shown;
  }

  invite({ role, ttlMs, uses, strict }: InviteRequest): InviteView {
    this.#note(`invite ${role} ${ttlMs} ${uses} ${strict}`);
    const expiresAt = '2026-01-02T00:00:00.000Z';
    return { token: 'mesh1token', invite: 'cd'.repeat(32), role, uses, strict, expiresAt };
  }

  revoke(target: string): RevokedView {
    this.#note(`revoke ${target}`);
    return target.startsWith('mesh1')
      ? { invite: 'cd'.repeat(32), statements: 1 }
      : { peer: bee, invite: 'cd'.repeat(32), statements: 2 };
  }

  async ping({ peer, count, throughput }: PingRequest): Promise<PingView> {
    this.#note(`ping ${peer} ${count}${throughput ? '' : ' round trips only'}`);
    const rttMs = { p50: 1.25, least: 1, most: 2 };
    return { ...bee, count, paths: [{ ...path, rttMs, bytesPerSecond: 123e6 }] };
  }

  async leave(withKey: boolean): Promise<void> {
    this.#note(`leave ${withKey}`);
  }

  #note(what: string): void {
    if (this.failure !== undefined) {
      throw this.failure;
    }
    this.asked.push(what);
  }
}

/** A node of which only the mesh can be managed; undefined: it takes part in none. */
export function managedNode(
  mesh: () => (ManagedMesh & { readonly status?: MeshStatus }) | undefined,
): ManagedNode {
  return {
    status: () => ({
      name: 'ada',
      peerId: '12D3KooW9xD46zPTAPhuq9BgJsrXSheqiJB8PfRpxuQriTuwYhwC',
      version: '1.0.0',
      pid: 1,
      uptimeSeconds: 2,
      apiUrl: 'http://127.0.0.1:9337/v1',
      ready: true,
      requestsInFlight: 0,
      requestsOfPeers: 0,
      residentBytes: 3,
      ...(mesh() === undefined ? {} : { mesh: mesh()?.status ?? meshStatus }),
      models: [],
    }),
    models: () => [],
    cluster: async () => ({ nodes: [], links: [] }),
    mesh: () => {
      const managed = mesh();
      if (managed === undefined) {
        throw new MeshnodeError('mesh_missing', 'This node takes part in no mesh.');
      }
      return managed;
    },
    load: () => {},
    unload: async () => {},
    stop: () => {},
    follow: () => () => {},
  };
}
