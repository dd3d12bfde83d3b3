// Which role may open which protocol. Asked for every stream in both directions, libp2p's own protocols
// included; what is not in the table is open to nobody.
import type { Role } from './roles.ts';

/** The protocols between nodes. */
export const protocols = {
  join: '/meshnode/join/1',
  gossip: '/meshnode/gossip/1',
  heartbeat: '/meshnode/heartbeat/1',
  infer: '/meshnode/infer/1',
  route: '/meshnode/route/1',
  rpc: '/meshnode/rpc/1',
  blob: '/meshnode/blob/1',
  /** Measures throughput: what `meshnode ping` sends is counted and thrown away. */
  measure: '/meshnode/measure/1',
} as const;

export type ProtocolId = (typeof protocols)[keyof typeof protocols];

const members: readonly Role[] = ['client', 'serve', 'admin'];
const servers: readonly Role[] = ['serve', 'admin'];

/** Who may open a protocol. 'anyone' includes peers that are not admitted. */
const openers: ReadonlyMap<string, 'anyone' | readonly Role[]> = new Map<string, 'anyone' | readonly Role[]>([
  [protocols.join, 'anyone'],
  [protocols.heartbeat, members],
  [protocols.infer, members],
  [protocols.route, members],
  [protocols.measure, members],
  [protocols.gossip, servers],
  [protocols.rpc, servers],
  [protocols.blob, servers],
  // libp2p's own.
  ['/ipfs/id/1.0.0', members],
  ['/ipfs/ping/1.0.0', members],
  ['/meshsub/1.0.0', servers],
  ['/meshsub/1.1.0', servers],
  ['/meshsub/1.2.0', servers],
  ['/floodsub/1.0.0', []],
]);

/** Whether a peer of `role` may open `protocol`; undefined is a peer that is not admitted. */
export function mayOpen(role: Role | undefined, protocol: string): boolean {
  const allowed = openers.get(protocol) ?? [];
  return allowed === 'anyone' || (role !== undefined && allowed.includes(role));
}
