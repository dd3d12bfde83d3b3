// What a stream between two nodes costs: streams of our hosts over each transport between two processes, next to
// plain TCP in the same run, and what the stream pool saves on a link with a long round trip.

import { StreamPool } from '../src/net/stream-pool.ts';
import { protocols } from '../src/trust/gate.ts';
import { systemClock } from '../src/util/clock.ts';
import { silentLogger } from '../src/util/logging.ts';
import { type DelayedLink, startDelayedTcp, startDelayedUdp } from '../test/support/delayed-link.ts';
import { type BenchResult, type BenchRow, describeMachine } from './support/report.ts';
import { median, percentile, spread } from './support/statistics.ts';
import type { Pipe } from './support/tunnel-service.ts';
import {
  linkedHost,
  plainTcp,
  type StreamWay,
  startTunnelPeer,
  type TunnelPeer,
  type Way,
} from './support/tunnel-ways.ts';

/** Every round measures every way once, so that the noise of the machine hits all alike. */
const rounds = 5;
const transferBytes = 64 * 2 ** 20;
const pingsPerRound = 400;
const pingBytes = 64;
const opensPerRound = 200;
const opensAtOnce = 16;
const delayedRttMs = 40;
const delayedRounds = 15;
const requestsAtOnce = 8;
const message = new Uint8Array(pingBytes);

export async function tunnel(): Promise<BenchResult> {
  const peer = await startTunnelPeer();
  try {
    return {
      name: 'tunnel',
      title: 'Streams between two nodes',
      notes: [
        `Two processes on 127.0.0.1; ${rounds} rounds of every measure, each way in turn, so that ratios are of one run.`,
        `MB/s: ${transferBytes / 2 ** 20} MiB over one stream, read by the measuring process. Ping-pong: ${pingBytes} B there and back on an open stream.`,
        `Fresh stream: opened, ${pingBytes} B written, the first byte of the echo read; plain TCP opens a connection instead, which needs no handshake of its own. Opens a second: ${opensAtOnce} at once.`,
        `Delayed link: a relay that holds everything back ${delayedRttMs / 2} ms each way; ${requestsAtOnce} requests at once, ${delayedRounds} times; the engine is an echo, so its time is nil. Multiples are of the round trip that the host's ping measures on the same link.`,
      ],
      machine: describeMachine(),
      rows: [
        ...(await onLoopback(peer)),
        ...(await onDelayedLink('tls', peer)),
        ...(await onDelayedLink('quic', peer)),
      ],
    };
  } finally {
    await peer.process.stop();
  }
}

async function onLoopback(peer: TunnelPeer): Promise<BenchRow[]> {
  const linked = [];
  try {
    for (const way of ['quic', 'tls', 'noise'] as const) {
      linked.push(await linkedHost(way, peer.at[way]));
    }
    const plain = plainTcp(peer.ports);
    const ours = linked.map(({ way }) => way);
    const rates = await inTurn([plain, ...ours], rounds, transferRate);
    const pings = await inTurn([plain, ...ours], rounds, roundTrips);
    const firstBytes = await inTurn([plain, ...ours], rounds, freshStreams);
    const opens = await inTurn([plain, ...ours], rounds, opensPerSecond);
    return ours.flatMap((way) => [
      rateRow(way, of(rates, way), of(rates, plain)),
      timeRow(`ping-pong ${pingBytes} B, ${way.name}`, of(pings, way), of(pings, plain)),
      timeRow(`first byte of a fresh stream, ${way.name}`, of(firstBytes, way), of(firstBytes, plain)),
      opensRow(way, of(opens, way), of(opens, plain)),
    ]);
  } finally {
    await Promise.all(linked.map(({ host }) => host.close()));
  }
}

type Samples = ReadonlyMap<Way, readonly number[]>;

/** What `measure` finds for each way, all rounds together. */
async function inTurn(
  ways: readonly Way[],
  times: number,
  measure: (way: Way) => Promise<readonly number[]>,
): Promise<Samples> {
  const samples = new Map<Way, number[]>(ways.map((way) => [way, []]));
  for (let round = 0; round < times; round++) {
    for (const [way, found] of samples) {
      found.push(...(await measure(way)));
    }
  }
  return samples;
}

function of(samples: Samples, way: Way): readonly number[] {
  return samples.get(way) ?? [];
}

/** MB/s. */
async function transferRate(way: Way): Promise<number[]> {
  const pipe = await way.open('source');
  const startedMs = performance.now();
  await pipe.write(new TextEncoder().encode(String(transferBytes)));
  let received = 0;
  for (let bytes = await pipe.read(); bytes !== undefined; bytes = await pipe.read()) {
    received += bytes.length;
  }
  const seconds = (performance.now() - startedMs) / 1000;
  await pipe.end();
  if (received !== transferBytes) {
    throw new Error(`${way.name} brought ${received} bytes.`);
  }
  return [received / 1e6 / seconds];
}

/** Milliseconds each. */
async function roundTrips(way: Way): Promise<number[]> {
  const pipe = await way.open('echo');
  const samples: number[] = [];
  for (let ping = 0; ping < pingsPerRound; ping++) {
    samples.push(await echoMs(pipe));
  }
  await finish(pipe);
  return samples;
}

async function freshStreams(way: Way): Promise<number[]> {
  const samples: number[] = [];
  for (let opened = 0; opened < opensPerRound; opened++) {
    samples.push(await firstByteMs(() => way.open('echo')));
  }
  return samples;
}

async function opensPerSecond(way: Way): Promise<number[]> {
  const startedMs = performance.now();
  const lane = async (): Promise<void> => {
    for (let opened = 0; opened < opensPerRound / opensAtOnce; opened++) {
      await firstByteMs(() => way.open('echo'));
    }
  };
  await Promise.all(Array.from({ length: opensAtOnce }, lane));
  const opened = Math.ceil(opensPerRound / opensAtOnce) * opensAtOnce;
  return [(opened * 1000) / (performance.now() - startedMs)];
}

/** From the wish for a stream to the first byte that comes back on it. The stream is ended in the background. */
async function firstByteMs(open: () => Promise<Pipe>): Promise<number> {
  const startedMs = performance.now();
  const pipe = await open();
  await echoMs(pipe);
  const tookMs = performance.now() - startedMs;
  finish(pipe).catch(() => {}); // The host may be closed first.
  return tookMs;
}

async function echoMs(pipe: Pipe): Promise<number> {
  const startedMs = performance.now();
  await pipe.write(message);
  for (let received = 0; received < message.length; ) {
    const bytes = await pipe.read();
    if (bytes === undefined) {
      throw new Error('The echo ended.');
    }
    received += bytes.length;
  }
  return performance.now() - startedMs;
}

async function finish(pipe: Pipe): Promise<void> {
  await pipe.end();
  while ((await pipe.read()) !== undefined) {
    // The echo has nothing more to say than its end.
  }
}

/** The pool's gain where a round trip costs something. */
async function onDelayedLink(kind: StreamWay, peer: TunnelPeer): Promise<BenchRow[]> {
  const { relay, at } = await delayed(kind, peer);
  const { host, way } = await linkedHost(kind, at);
  const pool = new StreamPool({
    open: (to, protocol, options) => host.open(to, protocol, options),
    clock: systemClock,
    log: silentLogger,
  });
  try {
    const rtts: number[] = [];
    const without: number[] = [];
    const withPool: number[] = [];
    for (let round = 0; round < delayedRounds; round++) {
      rtts.push(await host.ping(at.peerId));
      without.push(...(await atOnce(() => host.open(at.peerId, protocols.rpc))));
      pool.warm(at.peerId, protocols.rpc, requestsAtOnce);
      // The pause between two bursts of requests: long enough for any spare to be opened.
      await new Promise((resolve) => setTimeout(resolve, 5 * delayedRttMs));
      withPool.push(...(await atOnce(() => pool.take(at.peerId, protocols.rpc))));
    }
    const rttMs = median(rtts);
    return [
      multipleRow(`${requestsAtOnce} requests at once, ${way.name}, no pool`, without, rttMs),
      multipleRow(`${requestsAtOnce} requests at once, ${way.name}, pool`, withPool, rttMs, 1.2),
    ];
  } finally {
    await pool.close();
    await host.close();
    await relay.close();
  }
}

function atOnce(open: () => Promise<Pipe>): Promise<number[]> {
  return Promise.all(Array.from({ length: requestsAtOnce }, () => firstByteMs(open)));
}

async function delayed(
  kind: StreamWay,
  { at }: TunnelPeer,
): Promise<{ relay: DelayedLink; at: TunnelPeer['at'][StreamWay] }> {
  const { peerId, addresses } = at[kind];
  const port = Number(/\/(?:tcp|udp)\/(\d+)/.exec(addresses[0] ?? '')?.[1]);
  const start = kind === 'quic' ? startDelayedUdp : startDelayedTcp;
  const relay = await start(port, delayedRttMs / 2);
  const address = kind === 'quic' ? `udp/${relay.port}/quic-v1` : `tcp/${relay.port}`;
  return { relay, at: { peerId, addresses: [`/ip4/127.0.0.1/${address}`] } };
}

function rateRow({ name }: Way, samples: readonly number[], plain: readonly number[]): BenchRow {
  const rate = median(samples);
  return {
    measure: `one stream, ${name}`,
    value: `${rate.toFixed(0)} MB/s, max ${Math.max(...samples).toFixed(0)} (${(rate / median(plain)).toFixed(2)} of plain TCP)`,
    against: `plain TCP: ${median(plain).toFixed(0)} MB/s`,
    target: '>= 200 MB/s',
    met: rate >= 200,
    samples,
  };
}

function timeRow(measure: string, samples: readonly number[], plain: readonly number[]): BenchRow {
  const times = (share: number): string => (percentile(samples, share) / percentile(plain, share)).toFixed(2);
  return {
    measure,
    value: `${spread(samples, 'ms')} (${times(0.5)} x, p99 ${times(0.99)} x)`,
    against: `plain TCP: ${spread(plain, 'ms')}`,
    target: '',
    samples,
  };
}

function opensRow({ name }: Way, samples: readonly number[], plain: readonly number[]): BenchRow {
  const rate = median(samples);
  return {
    measure: `streams opened a second, ${name}`,
    value: `${rate.toFixed(0)} (${(rate / median(plain)).toFixed(2)} of plain TCP)`,
    against: `connections of plain TCP: ${median(plain).toFixed(0)}`,
    target: '',
    samples,
  };
}

function multipleRow(measure: string, samples: readonly number[], rttMs: number, most?: number): BenchRow {
  const multiple = median(samples) / rttMs;
  return {
    measure: `first byte, ${measure}`,
    value: `${multiple.toFixed(2)} x RTT (${spread(samples, 'ms', 1)})`,
    against: `RTT ${rttMs.toFixed(1)} ms`,
    target: most === undefined ? '' : `<= ${most} x RTT`,
    ...(most === undefined ? {} : { met: multiple <= most }),
    samples,
  };
}
