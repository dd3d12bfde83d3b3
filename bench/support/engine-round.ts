// Streams that one engine answers at the same time, and how long they take. The same code times every way, in this
// process or in the one of the bare library; it imports nothing, so that no way pays for it at its start.

/** Prompts answered at once, each with exactly `tokens` tokens: only equal work can be compared. */
export interface Round {
  /** Token ids: the same for every way, whatever it does with text. */
  readonly prompts: ReadonlyArray<readonly number[]>;
  readonly tokens: number;
}

export interface RoundFigures {
  /** From the beginning of the round to the first text of each stream. */
  readonly firstTextMs: readonly number[];
  /** To the end of the last stream. */
  readonly totalMs: number;
  readonly texts: readonly string[];
}

/** What arrives in one go. */
export interface Piece {
  readonly text: string;
  readonly tokens: number;
}

/** Answers one prompt of a round; `stream` numbers it. */
export type Answer = (prompt: readonly number[], stream: number) => AsyncIterable<Piece>;

/** What every way is loaded with. One thread: with two, llama.cpp would fight the caller for the second core. */
export const engineSettings = { contextTokens: 1024, parallel: 8, threads: 1 } as const;

/** Rejects if a stream has not as many tokens as were asked for. */
export async function timeRound(round: Round, answer: Answer): Promise<RoundFigures> {
  const startedMs = performance.now();
  const streams = await Promise.all(
    round.prompts.map((prompt, stream) => timeStream(answer(prompt, stream), startedMs)),
  );
  const totalMs = performance.now() - startedMs;
  const short = streams.find(({ tokens }) => tokens !== round.tokens);
  if (short !== undefined) {
    throw new Error(`A stream has ${short.tokens} tokens instead of ${round.tokens}: "${short.text}"`);
  }
  return {
    firstTextMs: streams.map(({ firstTextMs }) => firstTextMs),
    totalMs,
    texts: streams.map(({ text }) => text),
  };
}

async function timeStream(pieces: AsyncIterable<Piece>, startedMs: number) {
  let firstTextMs = Number.NaN;
  let text = '';
  let tokens = 0;
  for await (const piece of pieces) {
    firstTextMs = text === '' ? performance.now() - startedMs : firstTextMs;
    text += piece.text;
    tokens += piece.tokens;
  }
  return { firstTextMs, text, tokens };
}
