// What the mesh adds to a request: the API of a node without the model against the API of the node that serves it, in
// the same run, alternating.
import { setTimeout as wait } from 'node:timers/promises';
import { NodeClient } from '../src/cli/node-client.ts';
import { type StartedNode, startDoubleServer, startNode } from '../test/support/started-process.ts';
import { type BenchResult, type BenchRow, describeMachine } from './support/report.ts';
import { percentile, spread } from './support/statistics.ts';
import { type Clients, clientsFor, firstBytes, rateRow, rounds, streamCounts } from './support/two-ways.ts';

const firstByteSamples = 300;
/** Requests before the first is timed: by then the engine of JavaScript has compiled what they use. */
const warmUp = 1000;
const pings = 50;
/** How often, and how many times, what the mesh is yet to know is asked for. */
const tryEveryMs = 200;
const tryMost = 50;
/** Tokens a second of each stream of the double: a fast GPU. */
const doubleRate = 100;
const doubleTokens = 200;
const demoTokens = 100;
/** What a request through the mesh may add to a round trip. */
const allowedMs = 2;
const paths = ['quic', 'tcp'] as const;

export async function remote(): Promise<BenchResult> {
  const rows: BenchRow[] = [];
  for (const path of paths) {
    rows.push(...(await over(path)));
  }
  return {
    name: 'remote',
    title: 'A request through the mesh',
    notes: [
      `Three processes on one machine: an engine, the node that serves it, and a node that has only joined. "direct" asks the first node's API, the other way the second's. First byte: ${firstByteSamples} streaming requests each, in turn, after ${warmUp} more; the difference is of the two distributions at the same percentile.`,
      `The round trip is that of \`meshnode ping\`, the median of ${pings}.`,
      `Tokens/s: the median of ${rounds} alternating rounds; the ratio is through the mesh over direct. The double sends ${doubleRate} tokens a second in each stream; the demo model runs with one thread, and all processes share the cores.`,
    ],
    machine: describeMachine(),
    rows,
  };
}

async function over(path: 'quic' | 'tcp'): Promise<BenchRow[]> {
  const double = await startDoubleServer(['--rate', String(doubleRate)]);
  const flags = ['--transport', path, '--threads', '1'];
  const serving = await startNode([...flags, '--attach', `${double.origin}/v1`, '--model', 'demo']);
  let entry: StartedNode | undefined;
  try {
    await serving.process.event('ready');
    const { token } = await serving.process.event('invite');
    entry = await startNode([...flags, '--join', String(token)]);
    await entry.process.event('ready');
    const rttMs = await roundTripMs(entry);
    return [
      ...(await modelRows('double', doubleTokens, { path, rttMs }, serving, entry)),
      ...(await modelRows('demo', demoTokens, { path, rttMs }, serving, entry)),
    ];
  } finally {
    await entry?.stop();
    await serving.stop();
    await double.process.stop();
  }
}

async function modelRows(
  model: string,
  tokens: number,
  way: { readonly path: string; readonly rttMs: number },
  serving: StartedNode,
  entry: StartedNode,
): Promise<BenchRow[]> {
  const clients = clientsFor(serving.origin, entry.origin, model);
  const ask = { direct: () => clients.direct.stream(1), through: () => clients.through.stream(1) };
  try {
    await known(clients);
    await firstBytes(ask, warmUp);
    const { direct, through } = await firstBytes(ask, firstByteSamples);
    const row = (share: number, targetMs?: number): BenchRow => {
      const addedMs = percentile(through, share) - percentile(direct, share);
      return {
        measure: `added first byte, ${model}, ${way.path}, p${share * 100}`,
        value: `${addedMs.toFixed(2)} ms`,
        against: `direct: ${spread(direct, 'ms')}; round trip ${way.rttMs.toFixed(2)} ms`,
        target: targetMs === undefined ? '' : `< ${targetMs.toFixed(2)} ms`,
        ...(targetMs === undefined ? {} : { met: addedMs < targetMs }),
        samples: through,
      };
    };
    const rows = [row(0.5, way.rttMs + allowedMs), row(0.99)];
    for (const streams of streamCounts) {
      rows.push(
        await rateRow(clients, streams, tokens, `${model}, ${way.path}, ${streams} streams`, undefined),
      );
    }
    return rows;
  } finally {
    await Promise.all([clients.direct.close(), clients.through.close()]);
  }
}

/** Waits until the entry has heard that the other node serves the model. */
async function known({ through }: Clients): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      await through.stream(1);
      return;
    } catch (cause) {
      if (tries === tryMost) {
        throw cause;
      }
      await wait(tryEveryMs);
    }
  }
}

async function roundTripMs({ home }: StartedNode): Promise<number> {
  const client = await NodeClient.find(home);
  const signal = new AbortController().signal;
  let [peer] = await client.peers(signal);
  for (let tries = 0; peer === undefined && tries < tryMost; tries++) {
    await wait(tryEveryMs);
    [peer] = await client.peers(signal);
  }
  const { paths } = await client.ping(peer?.peerId ?? '', pings, signal);
  return paths[0]?.rttMs.p50 ?? Number.NaN;
}
