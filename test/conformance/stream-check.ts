// Holds one stream of chunks against the rules that hold for every one: closed shapes, one id, the role
// once, one finish a choice, the usage last, `[DONE]` after success only.
import type { z } from 'zod';
import { chatChunk, completionChunk, errorBody } from './shapes.ts';

/** What the rules need of a chunk, chat or completion. */
interface Chunk {
  readonly id: string;
  readonly created: number;
  readonly model: string;
  readonly choices: ReadonlyArray<{
    readonly index: number;
    readonly finish_reason: string | null;
    readonly delta?: {
      readonly role?: string | undefined;
      readonly tool_calls?: readonly ToolCallPiece[] | undefined;
    };
  }>;
  readonly usage?: object | null | undefined;
}

interface ToolCallPiece {
  readonly index: number;
  readonly id?: string | undefined;
  readonly function?: { readonly name?: string | undefined } | undefined;
}

interface Choice {
  finished: boolean;
  toolCalls: number;
}

export class StreamCheck {
  readonly #fault: (what: string) => void;
  readonly #schema: z.ZodType<Chunk>;
  readonly #choices = new Map<number, Choice>();
  #first: Chunk | undefined;
  #usageGiven = false;
  /** What the last frame has to be. */
  #closed: '[DONE]' | 'error' | undefined;

  /** `fault` is told of each broken rule. */
  constructor(kind: 'chat' | 'completion', fault: (what: string) => void) {
    this.#fault = fault;
    this.#schema = kind === 'chat' ? chatChunk : completionChunk;
  }

  /** The payload of one event. */
  frame(data: string): void {
    this.#require(this.#closed === undefined, `a frame came after ${this.#closed}`);
    if (data === '[DONE]') {
      this.#closed = '[DONE]';
      const all = [...this.#choices.values()];
      this.#require(all.length > 0 && all.every(({ finished }) => finished), 'a choice has no finish reason');
      return;
    }
    const json: unknown = JSON.parse(data);
    if (errorBody.safeParse(json).success) {
      this.#closed = 'error';
      return;
    }
    const parsed = this.#schema.safeParse(json);
    if (parsed.success) {
      this.#chunk(parsed.data);
    } else {
      this.#fault(`${data} is no chunk: ${parsed.error.message}`);
    }
  }

  /** The body ended cleanly; a broken connection is not told here. */
  end(): void {
    this.#require(this.#closed === '[DONE]', `the stream ended cleanly after ${this.#closed ?? 'no end'}`);
  }

  #chunk(chunk: Chunk): void {
    this.#first ??= chunk;
    const { id, created, model } = this.#first;
    this.#require(chunk.id === id, 'the id changed');
    this.#require(chunk.created === created, 'the time of creation changed');
    this.#require(chunk.model === model, 'the model changed');
    this.#require(!this.#usageGiven, 'a chunk came after the usage');
    this.#require('usage' in chunk === 'usage' in this.#first, '`usage` is in some chunks only');
    this.#usageGiven = chunk.usage !== null && chunk.usage !== undefined;
    this.#require(
      chunk.choices.length === (this.#usageGiven ? 0 : 1),
      'not one choice, or none with the usage',
    );
    for (const choice of chunk.choices) {
      this.#choice(choice);
    }
  }

  #choice({ index, delta, finish_reason }: Chunk['choices'][number]): void {
    const isFirst = !this.#choices.has(index);
    const choice = this.#choices.get(index) ?? { finished: false, toolCalls: 0 };
    this.#choices.set(index, choice);
    this.#require(!choice.finished, `choice ${index} went on after its finish reason`);
    if (delta !== undefined) {
      this.#require((delta.role === 'assistant') === isFirst, 'the role is not in the first chunk only');
      for (const piece of delta.tool_calls ?? []) {
        this.#toolCall(piece, choice);
      }
    }
    choice.finished = finish_reason !== null;
  }

  #toolCall({ index, id, function: called }: ToolCallPiece, choice: Choice): void {
    const isFirst = index === choice.toolCalls;
    this.#require(index <= choice.toolCalls, 'a tool call was skipped');
    this.#require((id !== undefined) === isFirst, 'the id of a tool call is not in its first piece only');
    this.#require(
      (called?.name !== undefined) === isFirst,
      'the name of a tool call is not in its first piece only',
    );
    choice.toolCalls += isFirst ? 1 : 0;
  }

  #require(holds: boolean, otherwise: string): void {
    if (!holds) {
      this.#fault(otherwise);
    }
  }
}
