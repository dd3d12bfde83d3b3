// How long a user waits for a node, and what it costs while nobody asks it anything.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { meshnodeProgram, startNode } from '../test/support/started-process.ts';
import { type Accounting, accounting } from './support/accounting.ts';
import { type BenchResult, type BenchRow, describeMachine } from './support/report.ts';
import { median, spread } from './support/statistics.ts';

const starts = 10;
const settleMs = 3_000;
const idleMs = 10_000;
const idlePeers = 10;
const settleWithPeersMs = 15_000;
const idleWithPeersMs = 45_000;

export async function start(): Promise<BenchResult> {
  return {
    name: 'start',
    title: 'Start and idle',
    notes: [
      `Starts: ${starts} of each, one after the other, from \`bin/meshnode\` to the answer of \`/health\`; the first is a cold one.`,
      `Idle: no model, no console, ${settleMs / 1000} s after the start; CPU over ${idleMs / 1000} s. With peers, each a whole node on this machine: after ${settleWithPeersMs / 1000} s, over ${idleWithPeersMs / 1000} s.`,
    ],
    machine: describeMachine(),
    rows: [
      await startToApi(),
      await startToModel(),
      await firstToken(),
      ...(await idle(0)),
      ...(await idle(idlePeers)),
    ],
  };
}

async function startToApi(): Promise<BenchRow> {
  const samples: number[] = [];
  for (let round = 0; round < starts; round++) {
    const startedMs = performance.now();
    const node = await startNode(['--headless']);
    samples.push((performance.now() - startedMs) / 1000);
    await node.stop();
  }
  return timeRow('start to API answering', samples, 1);
}

async function startToModel(): Promise<BenchRow> {
  const samples: number[] = [];
  for (let round = 0; round < starts; round++) {
    const startedMs = performance.now();
    const node = await startNode(['--headless', '--model', 'demo', '--threads', '1']);
    await node.process.event('ready');
    samples.push((performance.now() - startedMs) / 1000);
    await node.stop();
  }
  return timeRow('start to demo model ready', samples, undefined);
}

/** `meshnode run demo ...` with no node running: the longest way to a first word. */
async function firstToken(): Promise<BenchRow> {
  const samples: number[] = [];
  for (let round = 0; round < starts; round++) {
    const home = await mkdtemp(join(tmpdir(), 'meshnode-bench-'));
    const startedMs = performance.now();
    const child = spawn(meshnodeProgram, ['run', 'demo', 'hello', '--data-dir', home], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    await once(child.stdout, 'data');
    samples.push((performance.now() - startedMs) / 1000);
    child.stdout.resume();
    await once(child, 'exit');
    await rm(home, { recursive: true, force: true });
  }
  return timeRow('`meshnode run demo hello`: first token on screen', samples, 2);
}

function timeRow(measure: string, samples: readonly number[], targetSeconds: number | undefined): BenchRow {
  return {
    measure,
    value: spread(samples, 's'),
    against: 'wall clock',
    target: targetSeconds === undefined ? '' : `< ${targetSeconds} s`,
    ...(targetSeconds === undefined ? {} : { met: median(samples) < targetSeconds }),
    samples,
  };
}

/** What a node costs that has `peers` others in its mesh and nothing to do. */
async function idle(peers: number): Promise<BenchRow[]> {
  const node = await startNode(['--headless']);
  const others: (typeof node)[] = [];
  try {
    const token = peers === 0 ? '' : String((await node.process.event('invite'))['token']);
    while (others.length < peers) {
      const other = await startNode(['--headless', '--join', token]);
      others.push(other);
      await other.process.event('ready');
    }
    await wait(peers === 0 ? settleMs : settleWithPeersMs);
    const before = await accounting(node.process.pid);
    await wait(peers === 0 ? idleMs : idleWithPeersMs);
    const after = await accounting(node.process.pid);
    return before === undefined || after === undefined ? [] : costRows(peers, before, after);
  } finally {
    await Promise.all([node, ...others].map((member) => member.stop()));
  }
}

function costRows(peers: number, before: Accounting, after: Accounting): BenchRow[] {
  const what = peers === 0 ? 'idle' : `idle with ${peers} peers`;
  const residentMb = after.residentBytes / 1e6;
  const spentMs = peers === 0 ? idleMs : idleWithPeersMs;
  const cpuShare = ((after.cpuSeconds - before.cpuSeconds) * 1000 * 100) / spentMs;
  return [
    {
      measure: `${what}, resident memory`,
      value: `${residentMb.toFixed(0)} MB`,
      against: 'process accounting',
      target: '< 150 MB',
      met: residentMb < 150,
      samples: [residentMb],
    },
    {
      measure: `${what}, share of one core`,
      value: `${cpuShare.toFixed(2)} %`,
      against: 'process accounting',
      target: '< 1 %',
      met: cpuShare < 1,
      samples: [cpuShare],
    },
  ];
}
