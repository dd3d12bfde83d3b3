// What a mesh costs while nobody asks it anything: twenty processes that announce themselves at the real interval,
// and what the simulator's model of gossipsub says of the same run.
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { announceEveryMs } from '../src/mesh/own-record.ts';
import { protocols } from '../src/trust/gate.ts';
import { KeyPair } from '../src/trust/keys.ts';
import { meshLimits } from '../src/util/limits/mesh.ts';
import { systemRandom } from '../src/util/random.ts';
import { calmNetwork } from '../test/sim/virtual-network.ts';
import { inviteTo } from '../test/support/gossip-mesh.ts';
import { StartedProcess } from '../test/support/started-process.ts';
import { accounting } from './support/accounting.ts';
import type { MemberReport } from './support/gossip-member.ts';
import { type Prediction, predict } from './support/gossip-model.ts';
import { type BenchResult, type BenchRow, describeMachine } from './support/report.ts';
import { median, spread } from './support/statistics.ts';

const members = 20;
/** Processes started at once: a start takes a second of a core. */
const startsAtOnce = 4;
const settleMs = 10_000;
const windowMs = Number(process.env['BENCH_GOSSIP_SECONDS'] ?? 75) * 1000;
/** What is said shortly before the end may not have reached everybody. */
const tailMs = 5_000;
/** How far the model may be off. */
const modelShare = 0.25;

export async function gossip(): Promise<BenchResult> {
  const processes: StartedProcess[] = [];
  try {
    await startMembers(processes);
    await wait(settleMs);
    const measured = await measure(processes);
    return {
      name: 'gossip',
      title: 'A mesh at rest',
      notes: [
        `${members} processes on 127.0.0.1, each a host over TCP and TLS, the membership machine and gossipsub, and nothing else of a node; everybody is linked to everybody; ${windowMs / 1000} s after ${settleMs / 1000} s of rest. They run at a lower priority than the rest of the machine.`,
        `Each announces itself every ${announceEveryMs(members) / 1000} s with a GPU and a model to tell of, and compares digests every ${meshLimits.syncMs / 1000} s.`,
        'Delivery is counted by broadcast alone: from the author to one other member; convergence: until the last of all has it. Clocks are those of one machine.',
        'Processor and memory are of TypeScript unbuilt, with nineteen peers; the target for an idle node is of the bundle with ten.',
        `What gossipsub sends is held back ${calmNetwork.delayMs} to ${calmNetwork.delayMs + calmNetwork.jitterMs} ms, as on the links of the simulator. Its model is given the same members, envelopes and times, and nothing that was measured here; it is to be within ${modelShare * 100} %. It knows nothing of what processors take.`,
      ],
      machine: describeMachine(),
      rows: rowsOf(measured),
    };
  } finally {
    await Promise.all(processes.map((member) => member.stop()));
  }
}

async function startMembers(processes: StartedProcess[]): Promise<void> {
  const main = fileURLToPath(new URL('support/gossip-member.ts', import.meta.url));
  const start = async (args: readonly string[]): Promise<string> => {
    const started = new StartedProcess(process.execPath, [main, '--members', String(members), ...args]);
    processes.push(started);
    return String((await started.event('joined'))['address']);
  };
  const meshKey = KeyPair.fromSeed(systemRandom.bytes(32));
  const address = await start(['--founder', Buffer.from(meshKey.seed).toString('hex')]);
  const token = inviteTo(meshKey, address);
  while (processes.length < members) {
    const more = Math.min(startsAtOnce, members - processes.length);
    await Promise.all(Array.from({ length: more }, () => start(['--token', token])));
  }
  await Promise.all(processes.map((member) => member.event('complete')));
}

interface Measured {
  readonly minutes: number;
  readonly reports: readonly MemberReport[];
  /** Share of a core, and resident bytes, of each process. */
  readonly cpuShares: readonly number[];
  readonly residentBytes: readonly number[];
  readonly deliveries: Deliveries;
  readonly prediction: Prediction;
}

interface Deliveries {
  /** One for each envelope and each member that heard it. */
  readonly delaysMs: readonly number[];
  /** Those that came straight from the author. */
  readonly firstHopsMs: readonly number[];
  /** One for each envelope that all have heard. */
  readonly convergenceMs: readonly number[];
  readonly expected: number;
}

async function measure(processes: readonly StartedProcess[]): Promise<Measured> {
  const tell = (line: string): void => {
    for (const { child } of processes) {
      child.stdin?.write(`${line}\n`);
    }
  };
  const costs = () => Promise.all(processes.map(({ pid }) => accounting(pid)));
  tell('measure');
  const startedMs = performance.timeOrigin + performance.now();
  const before = await costs();
  await wait(windowMs);
  const after = await costs();
  const endedMs = performance.timeOrigin + performance.now();
  tell('report');
  const lines = await Promise.all(processes.map((member) => member.event('report')));
  const reports = lines as unknown as MemberReport[];
  const deliveries = deliveriesOf(reports, endedMs - tailMs);
  const seconds = (endedMs - startedMs) / 1000;
  return {
    minutes: seconds / 60,
    reports,
    cpuShares: after.flatMap((cost, index) => {
      const earlier = before[index];
      return cost === undefined || earlier === undefined
        ? []
        : [(cost.cpuSeconds - earlier.cpuSeconds) / seconds];
    }),
    residentBytes: after.flatMap((cost) => (cost === undefined ? [] : [cost.residentBytes])),
    deliveries,
    prediction: predict(
      reports.map(({ peer }) => peer),
      reports.flatMap(({ peer, published }) =>
        published.map(({ sizeBytes, atMs }) => ({ author: peer, sizeBytes, atMs: atMs - startedMs })),
      ),
    ),
  };
}

function deliveriesOf(reports: readonly MemberReport[], untilMs: number): Deliveries {
  const publications = new Map(
    reports.flatMap(({ peer, published }) =>
      published
        .filter(({ atMs }) => atMs < untilMs)
        .map(({ envelope, atMs }) => [envelope, { author: peer, atMs, delaysMs: [] as number[] }]),
    ),
  );
  const firstHopsMs: number[] = [];
  for (const { envelope, atMs, via } of reports.flatMap(({ heard }) => heard)) {
    const publication = publications.get(envelope);
    publication?.delaysMs.push(atMs - publication.atMs);
    if (publication?.author === via) {
      firstHopsMs.push(atMs - publication.atMs);
    }
  }
  const all = [...publications.values()].map(({ delaysMs }) => delaysMs);
  return {
    delaysMs: all.flat(),
    firstHopsMs,
    convergenceMs: all.filter(({ length }) => length === members - 1).map((delays) => Math.max(...delays)),
    expected: all.length * (members - 1),
  };
}

function rowsOf({
  minutes,
  reports,
  cpuShares,
  residentBytes,
  deliveries,
  prediction,
}: Measured): BenchRow[] {
  const perMinute = (bytes: (report: MemberReport) => number): number[] =>
    reports.map((report) => bytes(report) / minutes / 1e3);
  const ofProtocol = (isWanted: (protocol: string) => boolean) =>
    perMinute(({ streamBytes }) =>
      Object.entries(streamBytes).reduce((sum, [name, bytes]) => sum + (isWanted(name) ? bytes : 0), 0),
    );
  const rpcs = ofProtocol((name) => name.startsWith('/meshsub/'));
  const sizes = reports.flatMap(({ published }) => published.map(({ sizeBytes }) => sizeBytes));
  const delivered = deliveries.delaysMs.length / deliveries.expected;
  return [
    plainRow(
      'sent by one node a minute, on its sockets',
      perMinute(({ socketBytes }) => socketBytes),
      'kB',
    ),
    plainRow('of that, gossipsub', rpcs, 'kB', `${sizes.length} envelopes of ${median(sizes)} B`),
    plainRow(
      'of that, comparing digests',
      ofProtocol((name) => name === protocols.gossip),
      'kB',
    ),
    {
      measure: 'delivered by broadcast',
      value: `${(delivered * 100).toFixed(2)} %`,
      against: `${deliveries.expected} deliveries`,
      target: '',
      samples: [delivered],
    },
    plainRow(
      'delivery of an announcement',
      deliveries.delaysMs,
      'ms',
      `one hop: ${spread(deliveries.firstHopsMs, 'ms')}`,
    ),
    plainRow('convergence of an announcement', deliveries.convergenceMs, 'ms'),
    plainRow(
      'share of one core',
      cpuShares.map((share) => share * 100),
      '%',
      'process accounting',
    ),
    plainRow(
      'resident memory',
      residentBytes.map((bytes) => bytes / 1e6),
      'MB',
      'process accounting',
    ),
    modelRow(
      'gossipsub bytes of a node a minute',
      prediction.bytes / members / minutes / 1e3,
      mean(rpcs),
      'kB',
    ),
    modelRow('delivery p50', median(prediction.delaysMs), median(deliveries.delaysMs), 'ms'),
  ];
}

function mean(samples: readonly number[]): number {
  return samples.reduce((sum, sample) => sum + sample, 0) / samples.length;
}

function plainRow(measure: string, samples: readonly number[], unit: string, against = ''): BenchRow {
  return { measure, value: spread(samples, unit), against, target: '', samples };
}

function modelRow(what: string, predicted: number, real: number, unit: string): BenchRow {
  const ratio = predicted / real;
  return {
    measure: `model of the simulator, ${what}`,
    value: `${predicted.toFixed(1)} ${unit} (${ratio.toFixed(2)} of the real)`,
    against: `real: ${real.toFixed(1)} ${unit}`,
    target: `within ${modelShare * 100} %`,
    met: Math.abs(ratio - 1) <= modelShare,
    samples: [predicted, real],
  };
}
