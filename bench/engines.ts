// What our engines make of llama.cpp: load, first token and tokens per second of the embedded one and of llama-server,
// against node-llama-cpp used bare in the same run, in turn, so that the noise of the machine hits all alike.
import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { engineLimits } from '../src/util/limits/engine.ts';
import { type Random, seededRandom } from '../src/util/random.ts';
import {
  type BenchModel,
  endlessRound,
  freshRound,
  makeModels,
  shortTokens,
} from './support/engine-models.ts';
import { engineSettings, type RoundFigures } from './support/engine-round.ts';
import { type PerWay, rateRows, sameTextRows, timeRows } from './support/engine-rows.ts';
import { type EngineRun, type EngineWay, engineWays } from './support/engine-ways.ts';
import { type BenchResult, type BenchRow, describeMachine } from './support/report.ts';

const seed = 1;
const loads = 3;
const streamCounts = [1, 4, 8];
/** Rounds of each stream count. */
const rounds = 5;

/** What a way has loaded, by the way's name. */
type Runs = Map<string, EngineRun>;

export async function engines(): Promise<BenchResult> {
  const folder = await mkdtemp(join(tmpdir(), 'meshnode-bench-'));
  const forget = removeOnSignal(folder);
  try {
    const ways = await engineWays(folder);
    const rows: BenchRow[] = [];
    for (const model of await makeModels(folder, seed)) {
      rows.push(...(await measureModel(model, ways)));
    }
    return { name: 'engines', title: 'The engines', notes: notesOn(ways), machine: describeMachine(), rows };
  } finally {
    forget();
    await rm(folder, { recursive: true, force: true });
  }
}

/** Ctrl-C passes every `finally` by. Engines end with the process that started them (guarded-spawn.ts); files do not. */
function removeOnSignal(folder: string): () => void {
  const onSignal = (): void => {
    rmSync(folder, { recursive: true, force: true });
    process.exit(130);
  };
  const signals = ['SIGINT', 'SIGTERM'] as const;
  for (const signal of signals) {
    process.once(signal, onSignal);
  }
  return () => {
    for (const signal of signals) {
      process.off(signal, onSignal);
    }
  };
}

function notesOn(ways: readonly EngineWay[]): string[] {
  const { contextTokens, parallel, threads } = engineSettings;
  const hasServer = ways.some(({ name }) => name === 'llama-server');
  return [
    `Each way computes in a process of its own: ${threads} thread, ${parallel} slots, ${contextTokens} tokens a slot. All of them and the measuring process share the cores. Every round measures every way once, while the others idle.`,
    'Our engines are asked by the measuring process through `LoadedModel.infer`, without a node and its HTTP. "bare" is node-llama-cpp as its documentation shows it, `evaluate` on a sequence for each stream, timed inside its process: it hands nothing on.',
    'demo: the shipped model. 0.5B: the shape of a common model of that size, Q4_0, random weights. Prompts are token ids, the same for all ways; a token is a byte. Sampling is greedy, and every stream has exactly as many tokens as it was asked for.',
    `Load: from asking for it to the first token of a prompt of ${shortTokens}, the file in the page cache; processes of ours run TypeScript unbuilt. First token: one stream, a prompt that no cache holds.`,
    `Tokens/s: all streams together, from their common start to the end of the last; ${rounds} rounds. The prompt is in the cache of every slot.`,
    `So that they hear of cancels, llama-server computes ${engineLimits.cpuBatchTokens} tokens of a prompt at once, and the embedded engine as many as take ${engineLimits.prefillMs} ms; the bare library computes 512.`,
    ...(hasServer ? [] : ['llama-server is not built here (`meshnode engine build`): its way is left out.']),
  ];
}

async function measureModel(model: BenchModel, ways: readonly EngineWay[]): Promise<BenchRow[]> {
  const random = seededRandom(seed);
  const runs: Runs = new Map();
  try {
    const rows = timeRows(`load, ${model.name}`, await timeLoads(model, ways, runs, random));
    for (const { promptTokens, samples } of model.firstTokens) {
      const found = await inTurn(runs, samples, () => firstToken(promptTokens, random));
      rows.push(...timeRows(`first token, ${model.name}, prompt of ${promptTokens}`, found));
    }
    return [...rows, ...(await measureRates(model, runs))];
  } finally {
    await Promise.all([...runs.values()].map((run) => run.unload()));
  }
}

/** Milliseconds. Loads every way in turn, several times; what was loaded last is left in `runs`. */
async function timeLoads(
  model: BenchModel,
  ways: readonly EngineWay[],
  runs: Runs,
  random: Random,
): Promise<PerWay<number>> {
  const samples = new Map<string, number[]>(ways.map(({ name }) => [name, []]));
  for (let load = 0; load < loads; load++) {
    for (const way of ways) {
      await runs.get(way.name)?.unload();
      const startedMs = performance.now();
      const run = await way.load(model);
      runs.set(way.name, run);
      await run.ask(freshRound(shortTokens, random));
      samples.get(way.name)?.push(performance.now() - startedMs);
    }
  }
  return samples;
}

/** Times the same prompt, one that was never asked before, in every way. */
function firstToken(promptTokens: number, random: Random): (run: EngineRun) => Promise<number> {
  const round = freshRound(promptTokens, random);
  return async (run) => (await run.ask(round)).firstTextMs[0] ?? Number.NaN;
}

async function measureRates({ name, tokens }: BenchModel, runs: Runs): Promise<BenchRow[]> {
  const ask = (streams: number) => () => (run: EngineRun) => run.ask(endlessRound(streams, tokens));
  // Puts the prompt into every slot's cache.
  await inTurn(runs, 1, ask(engineSettings.parallel));
  const rows: BenchRow[] = [];
  const all = new Map<string, RoundFigures[]>([...runs.keys()].map((way) => [way, []]));
  for (const streams of streamCounts) {
    const figures = await inTurn(runs, rounds, ask(streams));
    rows.push(...rateRows(`tokens/s, ${name}, ${streams} streams`, figures, tokens));
    for (const [way, found] of figures) {
      all.get(way)?.push(...found);
    }
  }
  return [...rows, ...sameTextRows(`same greedy text, ${name}`, all)];
}

/** What is found for each way; `prepare` is called once for all ways, each of `times` times. */
async function inTurn<Found>(
  runs: Runs,
  times: number,
  prepare: () => (run: EngineRun) => Promise<Found>,
): Promise<PerWay<Found>> {
  const all = new Map<string, Found[]>([...runs.keys()].map((way) => [way, []]));
  for (let time = 0; time < times; time++) {
    const measure = prepare();
    for (const [way, run] of runs) {
      all.get(way)?.push(await measure(run));
    }
  }
  return all;
}
