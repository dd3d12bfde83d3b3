// Asks a real node what no interface of it tells. The node is the program as it is, with a few lines loaded before it.
import { request } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { probeSocket, type StreamCounts } from './node-probe-inside.ts';

export type { StreamCounts } from './node-probe-inside.ts';

/** A node by its data folder. */
export interface ProbedNode {
  readonly home: string;
}

const inside = new URL('node-probe-inside.ts', import.meta.url);

/** Nodes that are started within `start` can be asked. */
export async function probed<T>(start: () => Promise<T>): Promise<T> {
  const before = process.env['NODE_OPTIONS'];
  process.env['NODE_OPTIONS'] = `${before ?? ''} --import=${inside.href}`;
  try {
    return await start();
  } finally {
    if (before === undefined) {
      delete process.env['NODE_OPTIONS'];
    } else {
      process.env['NODE_OPTIONS'] = before;
    }
  }
}

/** Bytes in use by JavaScript, and by what hangs on it, once all garbage is gone. */
export function liveBytes(node: ProbedNode): Promise<number> {
  return ask(node, '/live-bytes');
}

/** Counts the streams of those connections that are opened from now on. */
export function countStreamsAnew(node: ProbedNode): Promise<null> {
  return ask(node, '/streams-anew');
}

export function streamCounts(node: ProbedNode): Promise<StreamCounts> {
  return ask(node, '/streams');
}

/** Milliseconds for which nothing of it could run, at most, since this was last asked. */
export function longestPauseMs(node: ProbedNode): Promise<number> {
  return ask(node, '/longest-pause');
}

async function ask<Answer>(node: ProbedNode, path: string): Promise<Answer> {
  const asked = request({ socketPath: join(node.home, probeSocket), path, agent: false }).end();
  const { promise, resolve, reject } = Promise.withResolvers<Parameters<typeof text>[0]>();
  asked.on('response', resolve).on('error', reject);
  return JSON.parse(await text(await promise)) as Answer;
}
