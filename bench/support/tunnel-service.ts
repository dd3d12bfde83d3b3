// What the serving side of the tunnel bench does on a stream, whatever carries it, and the stream as plain TCP has
// it: the same few calls as a PeerStream.
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { protocols } from '../../src/trust/gate.ts';

export interface Pipe {
  read(): Promise<Uint8Array | undefined>;
  write(bytes: Uint8Array): Promise<void>;
  end(): Promise<void>;
}

/** What can be asked of the serving side, and the protocol that stands for it. */
export const services = {
  /** Sends back what it gets. */
  echo: { protocol: protocols.rpc, serve: echo },
  /** Sends as many bytes as it is asked for. */
  source: { protocol: protocols.blob, serve: source },
} as const;

export type ServiceName = keyof typeof services;

async function echo(pipe: Pipe): Promise<void> {
  for (let bytes = await pipe.read(); bytes !== undefined; bytes = await pipe.read()) {
    await pipe.write(bytes);
  }
  await pipe.end();
}

const piece = new Uint8Array(64 * 1024);

async function source(pipe: Pipe): Promise<void> {
  const asked = await pipe.read();
  let left = Number(new TextDecoder().decode(asked));
  while (left > 0) {
    await pipe.write(piece.subarray(0, left));
    left -= piece.length;
  }
  await pipe.end();
}

export class SocketPipe implements Pipe {
  readonly #socket: Socket;
  readonly #chunks: AsyncIterator<Uint8Array>;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#chunks = socket.iterator({ destroyOnReturn: false }) as AsyncIterator<Uint8Array>;
  }

  async read(): Promise<Uint8Array | undefined> {
    const { done, value } = await this.#chunks.next();
    return done === true ? undefined : value;
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (!this.#socket.write(bytes)) {
      await once(this.#socket, 'drain');
    }
  }

  async end(): Promise<void> {
    this.#socket.end();
  }
}
