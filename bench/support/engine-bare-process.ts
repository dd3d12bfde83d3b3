// node-llama-cpp as its documentation shows it, with nothing of ours around: one model, one context, a sequence for
// each stream. Its rounds are timed in here, since messages to another process are what the bare library does not have.
import { getLlama, type LlamaContextSequence, type LlamaModel, type Token } from 'node-llama-cpp';
import { exitWithParent } from '../../src/engine/child-side.ts';
import { engineSettings, type Piece, type Round, type RoundFigures, timeRound } from './engine-round.ts';

/** What this process is told, one command after the other; it answers each of them once. */
export type ToBare =
  | { readonly type: 'load'; readonly path: string }
  | { readonly type: 'round'; readonly round: Round };

export type FromBare =
  | { readonly type: 'loaded' }
  | { readonly type: 'figures'; readonly figures: RoundFigures };

interface Loaded {
  readonly model: LlamaModel;
  readonly sequences: readonly LlamaContextSequence[];
}

let loaded: Loaded | undefined;

exitWithParent();
// A failure ends the process, and the bench with it: Node.js does so with a rejection that nobody handles.
process.on('message', async (message) => say(await obey(message as ToBare)));

async function obey(command: ToBare): Promise<FromBare> {
  if (command.type === 'load') {
    loaded = await load(command.path);
    return { type: 'loaded' };
  }
  if (loaded === undefined) {
    throw new Error('The model is not loaded.');
  }
  return { type: 'figures', figures: await ask(loaded, command.round) };
}

async function load(modelPath: string): Promise<Loaded> {
  const llama = await getLlama({ build: 'never', skipDownload: true, progressLogs: false });
  const model = await llama.loadModel({ modelPath });
  const { contextTokens, parallel, threads } = engineSettings;
  const context = await model.createContext({ sequences: parallel, contextSize: contextTokens, threads });
  return { model, sequences: Array.from({ length: parallel }, () => context.getSequence()) };
}

function ask({ model, sequences }: Loaded, round: Round): Promise<RoundFigures> {
  return timeRound(round, (prompt, stream) => {
    const sequence = sequences[stream];
    if (sequence === undefined) {
      throw new Error(`There is no sequence for stream ${stream}.`);
    }
    return generate(model, sequence, prompt as readonly Token[], round.tokens);
  });
}

/** The steps of the library's own `LlamaCompletion`: what the cache shares with the prompt is not computed again. */
async function* generate(
  model: LlamaModel,
  sequence: LlamaContextSequence,
  prompt: readonly Token[],
  most: number,
): AsyncGenerator<Piece, void, undefined> {
  await sequence.adaptStateToTokens(prompt.slice(0, -1), false);
  const generated: Token[] = [];
  for await (const token of sequence.evaluate(prompt.slice(sequence.nextTokenIndex), { temperature: 0 })) {
    yield { text: model.detokenize([token], false, generated.slice(-1)), tokens: 1 };
    generated.push(token);
    if (generated.length === most) {
      return;
    }
  }
}

function say(message: FromBare): void {
  process.send?.(message);
}
