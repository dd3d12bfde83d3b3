// How long a user waits for a node, and what it costs while nobody asks it anything.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { meshnodeProgram, startNode } from '../test/support/started-process.ts';
import { accounting } from './support/accounting.ts';
import { type BenchResult, type BenchRow, describeMachine } from './support/report.ts';
import { median, spread } from './support/statistics.ts';

const starts = 10;
const settleMs = 3_000;
const idleMs = 10_000;

export async function start(): Promise<BenchResult> {
  return {
    name: 'start',
    title: 'Start and idle',
    notes: [
      `Starts: ${starts} of each, one after the other, from \`bin/meshnode\` to the answer of \`/health\`; the first is a cold one.`,
      `Idle: no model, no console, ${settleMs / 1000} s after the start; CPU over ${idleMs / 1000} s. There is no mesh yet, so no peers.`,
    ],
    machine: describeMachine(),
    rows: [await startToApi(), await startToModel(), await firstToken(), ...(await idle())],
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

async function idle(): Promise<BenchRow[]> {
  const node = await startNode(['--headless']);
  try {
    await wait(settleMs);
    const before = await accounting(node.process.pid);
    await wait(idleMs);
    const after = await accounting(node.process.pid);
    if (before === undefined || after === undefined) {
      return [];
    }
    const residentMb = after.residentBytes / 1e6;
    const cpuShare = ((after.cpuSeconds - before.cpuSeconds) * 1000 * 100) / idleMs;
    return [
      {
        measure: 'idle, resident memory',
        value: `${residentMb.toFixed(0)} MB`,
        against: 'process accounting',
        target: '< 150 MB',
        met: residentMb < 150,
        samples: [residentMb],
      },
      {
        measure: 'idle, share of one core',
        value: `${cpuShare.toFixed(2)} %`,
        against: 'process accounting',
        target: '< 1 %',
        met: cpuShare < 1,
        samples: [cpuShare],
      },
    ];
  } finally {
    await node.stop();
  }
}
