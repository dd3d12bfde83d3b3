// A bare TCP client for what HTTP clients hide: pipelining, half requests, missing ends.
import { connect, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

export interface RawConnection {
  readonly socket: Socket;
  /** All text received so far. */
  readonly received: () => string;
  write(text: string): void;
  /** Resolves with everything received once it holds `wanted`; rejects if the connection ends before. */
  until(wanted: string | RegExp): Promise<string>;
  /** Resolves with everything received once the other side has closed, cleanly or not. */
  readonly closed: Promise<string>;
}

export async function rawConnect(port: number): Promise<RawConnection> {
  const socket = connect({ host: '127.0.0.1', port });
  onTestFinished(() => {
    socket.destroy();
  });
  let text = '';
  let wake = (): void => {};
  const closed = Promise.withResolvers<string>();
  socket.setEncoding('utf8');
  socket.on('data', (chunk) => {
    text += String(chunk);
    wake();
  });
  socket.on('error', () => {});
  socket.on('close', () => {
    closed.resolve(text);
    wake();
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', reject);
  });
  return {
    socket,
    received: () => text,
    write: (sent) => socket.write(sent),
    closed: closed.promise,
    async until(wanted) {
      while (!(typeof wanted === 'string' ? text.includes(wanted) : wanted.test(text))) {
        if (socket.destroyed) {
          throw new Error(`the connection closed without ${String(wanted)} after: ${text}`);
        }
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      return text;
    },
  };
}

/** The text of a POST request with a JSON body. */
export function rawPost(path: string, body: unknown): string {
  const json = JSON.stringify(body);
  return [
    `POST ${path} HTTP/1.1`,
    'Host: localhost',
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(json)}`,
    '',
    json,
  ].join('\r\n');
}

export function rawGet(path: string): string {
  return `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
}
