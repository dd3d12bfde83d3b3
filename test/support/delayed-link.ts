// Relays on 127.0.0.1 that make a link slow or bad: everything passes after a one-way delay, in order, with
// bounded memory. The handshake of TCP itself is not delayed: a connection to the relay is open at once.
import { createSocket, type RemoteInfo, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface DelayedLink {
  /** Where the relay listens on 127.0.0.1. */
  readonly port: number;
  /** Breaks the link for good. TCP connections are reset and new ones refused; UDP packets vanish. */
  cut(): void;
  /** Holds everything back, both ways, as a machine that hangs does: nothing is closed, nothing is lost. */
  freeze(): void;
  /** Ends a freeze. What was held back arrives, in order. */
  thaw(): void;
  /** Ends the relay and all its sockets. */
  close(): Promise<void>;
}

export interface DelayedUdp extends DelayedLink {
  /** From now on every `nth` packet is lost, counting both ways together; 0 loses none. */
  dropEvery(nth: number): void;
}

const host = '127.0.0.1';
/** Bytes under way in one direction of a connection before its sender is paused: 8 MiB in 40 ms are 200 MB/s. */
const bytesUnderWay = 8 * 1024 * 1024;
/** Packets under way in all; more are lost, as in a router. */
const packetsUnderWay = 16_384;
/** Senders a UDP relay tells apart; more are ignored. */
const udpFlows = 1024;

/** What is under way, with one timer: the delay is the same for all, so what came first is due first. */
class DelayLine {
  readonly #delayMs: number;
  #underWay: { readonly dueMs: number; readonly deliver: () => void }[] = [];
  #timer: NodeJS.Timeout | undefined;
  #isFrozen = false;

  constructor(delayMs: number) {
    this.#delayMs = delayMs;
  }

  get length(): number {
    return this.#underWay.length;
  }

  send(deliver: () => void): void {
    this.#underWay.push({ dueMs: performance.now() + this.#delayMs, deliver });
    this.#arm();
  }

  freeze(): void {
    this.#isFrozen = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  thaw(): void {
    this.#isFrozen = false;
    this.#arm();
  }

  clear(): void {
    this.#underWay = [];
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #arm(): void {
    const [first] = this.#underWay;
    if (first !== undefined && this.#timer === undefined && !this.#isFrozen) {
      // Timers count whole milliseconds and fire late rather than early: half a millisecond less is nearer.
      this.#timer = setTimeout(() => this.#deliverDue(), Math.max(0, first.dueMs - performance.now() - 0.5));
    }
  }

  #deliverDue(): void {
    this.#timer = undefined;
    const nowMs = performance.now() + 0.5;
    const firstLater = this.#underWay.findIndex(({ dueMs }) => dueMs > nowMs);
    for (const { deliver } of this.#underWay.splice(0, firstLater === -1 ? this.length : firstLater)) {
      deliver();
    }
    this.#arm();
  }
}

/** Relays TCP connections to `targetPort` on this machine, each byte `oneWayMs` late. */
export async function startDelayedTcp(targetPort: number, oneWayMs: number): Promise<DelayedLink> {
  const line = new DelayLine(oneWayMs);
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
    const far = connect({ host, port: targetPort, allowHalfOpen: true, noDelay: true });
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.once('close', () => sockets.delete(from));
      relay(from, to, line);
    }
  });
  server.listen(0, host);
  await once(server, 'listening');
  const cut = (): void => {
    server.close();
    line.clear();
    for (const socket of sockets) {
      socket.resetAndDestroy();
    }
  };
  return {
    port: (server.address() as AddressInfo).port,
    cut,
    freeze: () => line.freeze(),
    thaw: () => line.thaw(),
    async close() {
      const closed = server.listening ? once(server, 'close') : undefined;
      cut();
      await closed;
    },
  };
}

/** Passes bytes, the end and a break of `from` on to `to`. */
function relay(from: Socket, to: Socket, line: DelayLine): void {
  let underWay = 0;
  const arrived = (bytes: number): void => {
    underWay -= bytes;
    if (underWay < bytesUnderWay) {
      from.resume();
    }
  };
  from.on('data', (chunk: Buffer) => {
    underWay += chunk.length;
    if (underWay >= bytesUnderWay) {
      from.pause();
    }
    line.send(() => to.write(chunk, () => arrived(chunk.length)));
  });
  from.on('end', () => line.send(() => to.end()));
  from.on('error', () => {}); // 'close' follows.
  from.on('close', (isBroken) => {
    if (isBroken) {
      line.send(() => to.resetAndDestroy());
    }
  });
}

/** Relays UDP packets to `targetPort` on this machine, each `oneWayMs` late, with a socket of its own per sender. */
export async function startDelayedUdp(targetPort: number, oneWayMs: number): Promise<DelayedUdp> {
  const line = new DelayLine(oneWayMs);
  const near = createSocket('udp4');
  const far = new Map<number, UdpSocket>();
  let isCut = false;
  let dropNth = 0;
  let packets = 0;

  const pass = (deliver: () => void): void => {
    packets++;
    const isLost = dropNth > 0 && packets % dropNth === 0;
    if (!isCut && !isLost && line.length < packetsUnderWay) {
      line.send(deliver);
    }
  };
  const farSocket = ({ port }: RemoteInfo): UdpSocket | undefined => {
    const known = far.get(port);
    if (known !== undefined || far.size >= udpFlows) {
      return known;
    }
    const socket = createSocket('udp4');
    socket.on('error', () => {});
    socket.on('message', (packet) => pass(() => near.send(packet, port, host)));
    far.set(port, socket);
    return socket;
  };

  near.on('error', () => {});
  near.on('message', (packet, sender) => {
    const socket = farSocket(sender);
    if (socket !== undefined) {
      pass(() => socket.send(packet, targetPort, host));
    }
  });
  near.bind(0, host);
  await once(near, 'listening');
  return {
    port: near.address().port,
    cut() {
      isCut = true;
      line.clear();
    },
    freeze: () => line.freeze(),
    thaw: () => line.thaw(),
    dropEvery(nth) {
      dropNth = nth;
      packets = 0;
    },
    async close() {
      line.clear();
      isCut = true;
      await Promise.all(
        [near, ...far.values()].map(async (socket) => {
          const closed = once(socket, 'close');
          socket.close();
          await closed;
        }),
      );
    },
  };
}
