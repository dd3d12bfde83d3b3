// A relay for UDP on loopback between one client and one server, which can hold back what it is told to.
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { onTestFinished } from 'vitest';

export interface UdpRelay {
  readonly port: number;
  /** Datagrams seen so far, by where they came from. */
  readonly seen: { client: number; server: number };
  /** Decides what passes; what does not is dropped. Everything passes at first. */
  pass: (from: 'client' | 'server') => boolean;
  /** Resolves with the next datagram of the client. */
  nextFromClient(): Promise<void>;
}

/** Listens on a free port and relays to `serverPort`. Closed with the test. */
export async function startUdpRelay(serverPort: number): Promise<UdpRelay> {
  const [front, back] = [createSocket('udp4'), createSocket('udp4')];
  await Promise.all([bound(front), bound(back)]);
  let clientPort = 0;
  const relay: UdpRelay = {
    port: front.address().port,
    seen: { client: 0, server: 0 },
    pass: () => true,
    nextFromClient: async () => {
      await once(front, 'message');
    },
  };
  front.on('message', (datagram, from) => {
    clientPort = from.port;
    relay.seen.client++;
    if (relay.pass('client')) {
      back.send(datagram, serverPort, '127.0.0.1');
    }
  });
  back.on('message', (datagram) => {
    relay.seen.server++;
    if (relay.pass('server')) {
      front.send(datagram, clientPort, '127.0.0.1');
    }
  });
  return relay;
}

async function bound(socket: Socket): Promise<void> {
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  onTestFinished(() => {
    socket.close();
  });
}
