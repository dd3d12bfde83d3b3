// The ways to one model in llama.cpp: our two engines as a node holds them, and the library of the embedded one used
// bare. Each computes in a process of its own.
import { fileURLToPath } from 'node:url';
import { createEmbeddedEngine } from '../../src/engine/embedded/embedded.ts';
import type { LoadedModel, ModelFile } from '../../src/engine/engine.ts';
import { engineEnvironment } from '../../src/engine/engine-environment.ts';
import { describeExit, type OwnProcess, startOwnProcess } from '../../src/engine/process.ts';
import { plainOutput } from '../../src/inference/request.ts';
import { systemClock } from '../../src/util/clock.ts';
import { silentLogger } from '../../src/util/logging.ts';
import { systemRandom } from '../../src/util/random.ts';
import { loadLlamaServer, nativeSearch } from '../../test/support/llama-server.ts';
import type { FromBare, ToBare } from './engine-bare-process.ts';
import { engineSettings, type Piece, type Round, type RoundFigures, timeRound } from './engine-round.ts';

/** A model that one way has loaded. */
export interface EngineRun {
  ask(round: Round): Promise<RoundFigures>;
  /** Ends its process. */
  unload(): Promise<void>;
}

export interface EngineWay {
  readonly name: string;
  load(file: ModelFile): Promise<EngineRun>;
}

const components = { clock: systemClock, random: systemRandom, log: silentLogger };

/** What the others are compared with. */
export const bareLibrary: EngineWay = { name: 'node-llama-cpp', load: loadBare };

/** Those there are on this machine, the bare library last. Sockets are made in `runFolder`. */
export async function engineWays(runFolder: string): Promise<EngineWay[]> {
  const embedded: EngineWay = {
    name: 'embedded',
    load: async (file) => runOf(await createEmbeddedEngine(components).load(file, engineSettings)),
  };
  const llamaServer: EngineWay = {
    name: 'llama-server',
    load: async ({ name, path }) =>
      runOf((await loadLlamaServer(name, { path, runFolder, ...engineSettings })).model),
  };
  const { programs } = await nativeSearch();
  return [embedded, ...(programs === undefined ? [] : [llamaServer]), bareLibrary];
}

function runOf(model: LoadedModel): EngineRun {
  return {
    ask: (round) => timeRound(round, (prompt) => infer(model, prompt, round.tokens)),
    unload: () => model.unload(),
  };
}

async function* infer(
  model: LoadedModel,
  prompt: readonly number[],
  maxTokens: number,
): AsyncGenerator<Piece, void, undefined> {
  const request = {
    kind: 'completion',
    requestId: 'bench',
    model: { name: model.name },
    priority: 'interactive',
    hops: 0,
    extra: {},
    prompt,
    sampling: { temperature: 0 },
    output: { ...plainOutput, maxTokens },
  } as const;
  for await (const event of model.infer(request, new AbortController().signal)) {
    if (event.type === 'delta') {
      yield { text: event.text ?? '', tokens: event.tokenIds?.length ?? 0 };
    } else if (event.type === 'error') {
      throw new Error(`${model.engine} failed: ${event.message}`);
    }
  }
}

async function loadBare({ name, path }: ModelFile): Promise<EngineRun> {
  const bare = startOwnProcess({
    modulePath: fileURLToPath(new URL('engine-bare-process.ts', import.meta.url)),
    name: `bare/${name}`,
    env: engineEnvironment(process.env),
    ...components,
  });
  const unload = async (): Promise<void> => {
    await bare.stop();
  };
  try {
    await tell(bare, { type: 'load', path });
  } catch (failure) {
    await unload();
    throw failure;
  }
  return { ask: (round) => askBare(bare, round), unload };
}

async function askBare(bare: OwnProcess, round: Round): Promise<RoundFigures> {
  const answer = await tell(bare, { type: 'round', round });
  if (answer.type !== 'figures') {
    throw new Error(`The bare process answered a round with '${answer.type}'.`);
  }
  return answer.figures;
}

/** Sends a command and waits for its answer. Rejects if the process ends instead. */
async function tell(bare: OwnProcess, command: ToBare): Promise<FromBare> {
  const answer = Promise.withResolvers<FromBare>();
  const forget = bare.onMessage((message) => answer.resolve(message as FromBare));
  void bare.exited.then((exit) =>
    answer.reject(new Error(`The bare process ${describeExit(exit)}:\n${exit.logTail}`)),
  );
  try {
    bare.send(command);
    return await answer.promise;
  } finally {
    forget();
  }
}
