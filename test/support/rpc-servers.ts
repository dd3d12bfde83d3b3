// llama.cpp's own RPC workers and a server that computes on them, as real processes on loopback: what a plan says is
// held against what they do.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { expect, onTestFinished } from 'vitest';
import type { NativePrograms } from '../../src/engine/native/find-programs.ts';
import { ServerClient } from '../../src/engine/openai/client.ts';
import { systemClock } from '../../src/util/clock.ts';
import { StartedProcess } from './started-process.ts';

const key = 'the-key-of-a-test';

/** Starts workers, one CPU device each, ended after the test; returns where they listen. */
export async function startRpcServers(programs: NativePrograms, count: number): Promise<string[]> {
  const { rpcServer } = programs;
  if (rpcServer === undefined) {
    throw new Error('There is no RPC server beside llama-server.');
  }
  const ports = await freePorts(count);
  return Promise.all(
    ports.map(async (port) => {
      const args = ['--host', '127.0.0.1', '--port', String(port), '--threads', '1'];
      const server = new StartedProcess(rpcServer, args);
      onTestFinished(() => void server.stop('SIGKILL'));
      await expect.poll(() => listens(port), { timeout: 10_000, interval: 10 }).toBe(true);
      return `127.0.0.1:${port}`;
    }),
  );
}

/** Held until all are known: closed one by one, two could be the same. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports = await Promise.all(
    servers.map(async (server) => {
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const address = server.address();
      return typeof address === 'object' && address !== null ? address.port : Number.NaN;
    }),
  );
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** A connection and no word: a worker takes it for a client that has left. */
async function listens(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

export interface SplitServer {
  /** Where llama.cpp has put each layer, the output as the last: `CPU`, `RPC0`, ... */
  readonly devices: readonly string[];
  /** A greedy continuation of a text. */
  complete(text: string, tokens: number): Promise<string>;
}

/** Starts llama-server with these flags of a split, and waits until it answers. Ended after the test. */
export async function startSplitServer(
  programs: NativePrograms,
  modelPath: string,
  socketPath: string,
  flags: readonly string[],
): Promise<SplitServer> {
  const common = [
    '--model',
    modelPath,
    '--host',
    socketPath,
    '--threads',
    '1',
    '--ctx-size',
    '512',
    '--parallel',
    '1',
  ];
  const plain = ['--fit', 'off', '--no-repack', '--offline', '--no-webui', '--log-colors', 'off', '-lv', '5'];
  const server = new StartedProcess(programs.llamaServer, [...common, ...plain, ...flags], {
    environment: { LLAMA_API_KEY: key, GGML_NO_BACKTRACE: '1' },
  });
  const client = new ServerClient({ url: 'http://split', apiKey: key, socketPath, clock: systemClock });
  onTestFinished(async () => {
    await client.close();
    await server.stop('SIGKILL');
  });
  const deadline = AbortSignal.timeout(20_000);
  const isUp = async (): Promise<boolean> =>
    client.json({ method: 'GET', path: '/health', signal: deadline, silenceMs: 5_000 }).then(
      () => true,
      () => false,
    );
  while (!(await isUp())) {
    if (deadline.aborted || server.child.exitCode !== null) {
      throw new Error(`llama-server did not come up:\n${server.stderr.slice(-2_000)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return {
    devices: [...server.stderr.matchAll(/layer +\d+ assigned to device (\w+)/g)].map(([, name = '']) => name),
    complete: async (prompt, tokens) => {
      const body = { prompt, n_predict: tokens, temperature: 0 };
      const answer = await client.json({
        method: 'POST',
        path: '/completion',
        body,
        signal: deadline,
        silenceMs: 20_000,
      });
      return String((answer as { content?: string }).content);
    },
  };
}
