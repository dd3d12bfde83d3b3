// QUIC clients that begin a handshake and never go on: they say their first word, and hear nothing of the answer.
import { onTestFinished } from 'vitest';
import { sleep, systemClock } from '../../src/util/clock.ts';
import { boundSocket } from './bound-socket.ts';
import { bareTransport, noUpgrader, quicAddress } from './quic-host.ts';

export interface HalfOpenClients {
  /** How many of them the server has answered: with each of those it is in a handshake. */
  answered(): number;
  /** Resolves once it has answered so many. */
  reach(count: number): Promise<void>;
}

/** `count` clients of the server at a loopback port. They end with the test. */
export async function startHalfOpenClients(serverPort: number, count: number): Promise<HalfOpenClients> {
  const [front, back] = await Promise.all([boundSocket(), boundSocket()]);
  const answered = new Set<string>();
  front.on('message', (datagram) => back.send(datagram, serverPort, '127.0.0.1'));
  back.on('message', (datagram) => {
    const client = destinationOf(datagram);
    if (client !== undefined) {
      answered.add(client);
    }
  });
  const ended = new AbortController();
  onTestFinished(() => ended.abort());
  const { transport } = await bareTransport('ours');
  const address = quicAddress(front.address().port);
  for (let client = 0; client < count; client++) {
    transport.dial(address, { signal: ended.signal, upgrader: noUpgrader }).catch(() => {});
  }
  return {
    answered: () => answered.size,
    reach: async (wanted) => {
      while (answered.size < wanted) {
        await sleep(systemClock, 5);
      }
    },
  };
}

/** The connection id that a handshake packet is for: each client chose its own (RFC 9000, section 17.2). */
function destinationOf(datagram: Buffer): string | undefined {
  const isHandshake = ((datagram[0] ?? 0) & 0x80) !== 0;
  const length = datagram[5] ?? 0;
  return isHandshake ? datagram.subarray(6, 6 + length).toString('hex') : undefined;
}
