// Bounds how many inbound connections of one host may be proving their key at once, so that one host cannot take the
// places of all others. Knows no peer: there is none yet.
import type { ConnectionGater, MultiaddrConnection } from '@libp2p/interface';
import { netLimits } from '../util/limits/net.ts';

/** Asked by libp2p right after its own bound of all hosts together, and before any work is done for a connection. */
export function handshakeGater(): ConnectionGater {
  const pending = new Map<string, Set<MultiaddrConnection>>();
  const settled = (connection: MultiaddrConnection): void => {
    const host = hostOf(connection);
    const others = pending.get(host);
    others?.delete(connection);
    if (others?.size === 0) {
      pending.delete(host);
    }
  };
  return {
    denyInboundConnection: (connection) => {
      const host = hostOf(connection);
      const others = pending.get(host) ?? new Set();
      if (others.size >= netLimits.pendingInboundPerHost) {
        return true;
      }
      pending.set(host, others.add(connection));
      connection.addEventListener('close', () => settled(connection));
      return false;
    },
    denyInboundUpgradedConnection: (_, connection) => {
      settled(connection);
      return false;
    },
  };
}

function hostOf({ remoteAddr }: MultiaddrConnection): string {
  return remoteAddr.getComponents()[0]?.value ?? '';
}
