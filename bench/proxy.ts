// What the node adds to an engine: time to the first byte and tokens per second, against the engine asked
// directly in the same run, alternating, so that the noise of the machine hits both alike.
import { fileURLToPath } from 'node:url';
import { createEmbeddedEngine } from '../src/engine/embedded/embedded.ts';
import type { LoadedModel } from '../src/engine/engine.ts';
import { plainOutput } from '../src/inference/request.ts';
import { systemClock } from '../src/util/clock.ts';
import { silentLogger } from '../src/util/logging.ts';
import { systemRandom } from '../src/util/random.ts';
import {
  type StartedNode,
  StartedProcess,
  startDoubleServer,
  startNode,
} from '../test/support/started-process.ts';
import { type BenchResult, type BenchRow, describeMachine } from './support/report.ts';
import { percentile, spread } from './support/statistics.ts';
import { StreamClient, type StreamFigures } from './support/stream-client.ts';
import {
  type Ask,
  clientsFor,
  firstBytes,
  rateRow,
  ratioRow,
  rounds,
  streamCounts,
} from './support/two-ways.ts';

/** Requests timed for the first byte, of each kind. */
const firstByteSamples = 300;
/** Requests between the fresh node and the warm one: by then the engine of JavaScript has compiled what they use. */
const firstByteWarmUp = 1000;
/** Tokens a second of each stream of the double: a fast GPU. */
const doubleRate = 100;
const doubleTokens = 200;
const demoTokens = 100;

export async function proxy(): Promise<BenchResult> {
  return {
    name: 'proxy',
    title: 'Local proxy: what the node adds to an engine',
    notes: [
      `First byte: ${firstByteSamples} streaming requests each, one after the other, direct and through the node in turn, right after the start and again after ${firstByteWarmUp} more; the difference is of the two distributions at the same percentile.`,
      'The bare proxy passes bytes on and reads none: the floor of what anything in Node.js adds in this place.',
      `Tokens/s: the median of ${rounds} alternating rounds; the ratio is through the node over direct.`,
      `The double sends ${doubleRate} tokens a second in each stream; "flat out" is a double without a rate, where every core is busy and the client, the double and the node share ${describeMachine().split(' ')[0]} cores.`,
      'The demo model is asked directly inside the measuring process, without HTTP, on the same engine with one thread; through the node it passes the engine process, the node and HTTP.',
    ],
    machine: describeMachine(),
    rows: [...(await againstDouble()), ...(await flatOut()), ...(await againstDemo())],
  };
}

async function modelReady(node: StartedNode, model: string): Promise<void> {
  await node.process.event('model', { model, state: 'ready' });
}

/** The engine double at a fixed rate. */
async function againstDouble(): Promise<BenchRow[]> {
  const double = await startDoubleServer(['--rate', String(doubleRate)]);
  const node = await startNode(['--attach', `${double.origin}/v1`, '--headless']);
  const bare = await startBareProxy(double.origin);
  const bareClient = new StreamClient({ origin: bare.origin, model: 'double' }, 1);
  const clients = clientsFor(double.origin, node.origin, 'double');
  try {
    await modelReady(node, 'double');
    const rows = await firstByteRows('double', {
      direct: () => clients.direct.stream(1),
      through: () => clients.through.stream(1),
      bare: () => bareClient.stream(1),
    });
    for (const streams of streamCounts) {
      rows.push(
        await rateRow(clients, streams, doubleTokens, `double at ${doubleRate}/s, ${streams} streams`, 0.97),
      );
    }
    return rows;
  } finally {
    await Promise.all([clients.direct.close(), clients.through.close(), bareClient.close()]);
    await bare.process.stop();
    await node.stop();
    await double.process.stop();
  }
}

async function startBareProxy(origin: string): Promise<{ process: StartedProcess; origin: string }> {
  const main = fileURLToPath(new URL('support/bare-proxy.ts', import.meta.url));
  const started = new StartedProcess(process.execPath, [main, origin]);
  const { port } = await started.line((line) => line['port'] !== undefined);
  return { process: started, origin: `http://127.0.0.1:${String(port)}` };
}

/** The engine double without a rate: how much the node can carry at most. No target. */
async function flatOut(): Promise<BenchRow[]> {
  const double = await startDoubleServer(['--rate', '0']);
  const node = await startNode(['--attach', `${double.origin}/v1`, '--headless']);
  const clients = clientsFor(double.origin, node.origin, 'double');
  try {
    await modelReady(node, 'double');
    await clients.through.tokensPerSecond(8, 2000);
    return [await rateRow(clients, 8, 5000, 'double flat out, 8 streams', undefined)];
  } finally {
    await Promise.all([clients.direct.close(), clients.through.close()]);
    await node.stop();
    await double.process.stop();
  }
}

/**
 * The added time to the first byte, in a node that has just started and in one that has answered a while.
 * Each sample asks every way in turn; the difference to `direct` is that of the distributions at a percentile.
 */
async function firstByteRows(
  what: string,
  ask: { direct: Ask; through: Ask; bare?: Ask },
): Promise<BenchRow[]> {
  const fresh = await firstBytes(ask, firstByteSamples);
  await firstBytes(ask, firstByteWarmUp);
  const warm = await firstBytes(ask, firstByteSamples);
  const row = (
    name: string,
    samples: readonly number[],
    direct: readonly number[],
    share: number,
    targetMs?: number,
  ): BenchRow => {
    const addedMs = percentile(samples, share) - percentile(direct, share);
    return {
      measure: `added first byte, ${name}, p${share * 100}`,
      value: `${addedMs.toFixed(2)} ms`,
      against: `direct: ${spread(direct, 'ms')}`,
      target: targetMs === undefined ? '' : `< ${targetMs} ms`,
      ...(targetMs === undefined ? {} : { met: addedMs < targetMs }),
      samples,
    };
  };
  return [
    row(`${what}, fresh node`, fresh.through, fresh.direct, 0.5, 1),
    row(`${what}, fresh node`, fresh.through, fresh.direct, 0.99, 5),
    row(`${what}, warm node`, warm.through, warm.direct, 0.5, 1),
    row(`${what}, warm node`, warm.through, warm.direct, 0.99, 5),
    ...(warm.bare.length === 0 ? [] : [row(`${what}, warm bare proxy`, warm.bare, warm.direct, 0.5)]),
  ];
}

/** A real engine: the embedded one with the demo model, which has four slots; more streams wait for one. */
async function againstDemo(): Promise<BenchRow[]> {
  const components = { clock: systemClock, random: systemRandom, log: silentLogger };
  const path = new URL('../models/demo/demo.gguf', import.meta.url).pathname;
  const model = await createEmbeddedEngine(components).load({ name: 'demo', path }, { threads: 1 });
  const node = await startNode(['--model', 'demo', '--threads', '1', '--headless']);
  const through = new StreamClient({ origin: node.origin, model: 'demo' }, Math.max(...streamCounts));
  try {
    await modelReady(node, 'demo');
    const rows = await firstByteRows('demo model', {
      direct: () => directStream(model, 1),
      through: () => through.stream(1),
    });
    for (const streams of streamCounts) {
      const directRates: number[] = [];
      const throughRates: number[] = [];
      for (let round = 0; round < rounds; round++) {
        directRates.push(await directTokensPerSecond(model, streams));
        throughRates.push(await through.tokensPerSecond(streams, demoTokens));
      }
      rows.push(ratioRow(`demo model, ${streams} streams`, throughRates, directRates, undefined));
    }
    return rows;
  } finally {
    await through.close();
    await node.stop();
    await model.unload();
  }
}

async function directTokensPerSecond(model: LoadedModel, streams: number): Promise<number> {
  const startedMs = performance.now();
  const figures = await Promise.all(Array.from({ length: streams }, () => directStream(model, demoTokens)));
  const tokens = figures.reduce((sum, figure) => sum + figure.tokens, 0);
  return (tokens * 1000) / (performance.now() - startedMs);
}

/** The request of StreamClient, asked of the engine without HTTP and without a node. */
async function directStream(model: LoadedModel, maxTokens: number): Promise<StreamFigures> {
  const startedMs = performance.now();
  let firstByteMs = Number.NaN;
  let tokens = 0;
  const request = {
    kind: 'chat',
    requestId: 'bench',
    model: { name: 'demo' },
    priority: 'interactive',
    hops: 0,
    extra: {},
    messages: [{ role: 'user', content: [{ type: 'text', text: 'Count for ever.' }] }],
    sampling: { temperature: 0 },
    output: { ...plainOutput, maxTokens },
  } as const;
  for await (const event of model.infer(request, new AbortController().signal)) {
    if (event.type === 'delta') {
      firstByteMs = tokens === 0 ? performance.now() - startedMs : firstByteMs;
      tokens++;
    }
  }
  return { firstByteMs, totalMs: performance.now() - startedMs, tokens };
}
