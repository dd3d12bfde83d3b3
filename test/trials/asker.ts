// A client in a process of its own, so that it can live on another host: asks what it is told to on standard input, a
// JSON line each, and prints how that went.
import { createInterface } from 'node:readline';

/** A line that it is told: what to ask, or which question it shall hang up on. */
export type Told = Asked | { readonly hangUp: number };

export interface Asked {
  readonly id: number;
  /** Base URL of the API. */
  readonly apiUrl: string;
  readonly prompt: string;
  readonly maxTokens: number;
}

/** How an answer ended: as it should, with an error that was told, or cleanly in the middle, which must never be. */
export type Ending = 'complete' | 'told' | 'truncated';

export type Answered =
  | {
      readonly id: number;
      readonly news: 'began';
      readonly peer: string;
      /** When it did, Unix time. */
      readonly atMs: number;
    }
  | {
      readonly id: number;
      readonly news: 'ended';
      readonly ending: Ending;
      /** What the error was, or how it ended without being complete. */
      readonly why: string;
      readonly tookMs: number;
      /** When it ended, Unix time. */
      readonly atMs: number;
    };

const callers = new Map<number, AbortController>();

for await (const line of createInterface({ input: process.stdin })) {
  const told = JSON.parse(line) as Told;
  if ('hangUp' in told) {
    callers.get(told.hangUp)?.abort();
  } else {
    const caller = new AbortController();
    callers.set(told.id, caller);
    void answer(told, caller.signal).finally(() => callers.delete(told.id));
  }
}

function say(answered: Answered): void {
  process.stdout.write(`${JSON.stringify(answered)}\n`);
}

async function answer({ id, apiUrl, prompt, maxTokens }: Asked, signal: AbortSignal): Promise<void> {
  const startMs = performance.now();
  const ended = (ending: Ending, why = ''): void =>
    say({ id, news: 'ended', ending, why, tookMs: performance.now() - startMs, atMs: Date.now() });
  try {
    const response = await fetch(`${apiUrl}/chat/completions`, {
      method: 'POST',
      signal,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        model: 'demo',
        stream: true,
        temperature: 0,
        max_tokens: maxTokens,
        messages: [{ role: 'user', content: prompt }],
      }),
    });
    if (response.status !== 200) {
      ended('told', `${response.status} ${await response.text()}`.slice(0, 200));
      return;
    }
    say({ id, news: 'began', peer: response.headers.get('x-meshnode-peer') ?? '', atMs: Date.now() });
    let text = '';
    for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      text += chunk;
    }
    if (text.includes('data: [DONE]')) {
      ended('complete');
    } else {
      const error = text.split('\n').find((line) => line.includes('"error"'));
      ended(error === undefined ? 'truncated' : 'told', error ?? 'a clean end');
    }
  } catch (thrown) {
    ended('told', String(thrown));
  }
}
