// An address at which nobody answers, for a token to lead to: it counts who comes, over QUIC and over TCP.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';

export interface SilentDoor {
  /** Multiaddrs without a peer id. */
  readonly addresses: readonly string[];
  /** Packets over UDP and connections over TCP, so far. */
  readonly knocks: { udp: number; tcp: number };
  close(): void;
}

const host = '127.0.0.1';

export async function openSilentDoor(): Promise<SilentDoor> {
  const knocks = { udp: 0, tcp: 0 };
  const sockets = new Set<Socket>();
  const tcp = createServer((socket) => {
    knocks.tcp++;
    sockets.add(socket.on('error', () => {}));
  });
  const udp = createSocket('udp4', () => {
    knocks.udp++;
  });
  tcp.listen(0, host);
  udp.bind(0, host);
  await Promise.all([once(tcp, 'listening'), once(udp, 'listening')]);
  return {
    addresses: [
      `/ip4/${host}/udp/${udp.address().port}/quic-v1`,
      `/ip4/${host}/tcp/${(tcp.address() as AddressInfo).port}`,
    ],
    knocks,
    close() {
      tcp.close();
      udp.close();
      for (const socket of sockets) {
        socket.destroy();
      }
    },
  };
}
