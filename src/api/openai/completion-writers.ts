// A text completion as chunks and as one object.
import type OpenAI from 'openai';
import type { DeltaEvent, FinishReason, TokenLogprob, UsageEvent } from '../../inference/events.ts';
import type { AnswerEvent, AnswerHead, SendFrame, StreamWriter, WholeWriter } from '../surface.ts';
import { textTemplate } from './text-template.ts';
import { usageObject } from './usage.ts';

/** How one client wants its completion. */
export interface CompletionStyle {
  /** Of all prompts together. */
  readonly choices: number;
  readonly includeUsage: boolean;
}

type Logprobs = Required<OpenAI.CompletionChoice.Logprobs>;

/** The official types have no chunk of their own: the reason and the usage come late. */
interface ChunkChoice extends Omit<OpenAI.CompletionChoice, 'finish_reason'> {
  finish_reason: OpenAI.CompletionChoice['finish_reason'] | null;
}
interface Chunk extends Omit<OpenAI.Completion, 'choices' | 'usage'> {
  choices: ChunkChoice[];
  usage?: OpenAI.CompletionUsage | null;
}

export class CompletionStreamWriter implements StreamWriter {
  readonly #head: AnswerHead;
  readonly #style: CompletionStyle;
  readonly #send: SendFrame;
  /** By choice: characters of text so far. */
  readonly #offsets: number[];
  readonly #textChunks: Array<((text: string) => string) | undefined>;
  #usage: UsageEvent | undefined;

  constructor(head: AnswerHead, style: CompletionStyle, send: SendFrame) {
    this.#head = head;
    this.#style = style;
    this.#send = send;
    this.#offsets = new Array<number>(style.choices).fill(0);
    this.#textChunks = new Array(style.choices);
  }

  event(event: AnswerEvent): void {
    switch (event.type) {
      case 'delta':
        this.#delta(event);
        break;
      case 'finish': {
        const finish_reason = completionFinishReason(event.reason);
        this.#sendChoice({ index: event.index, text: '', logprobs: null, finish_reason });
        break;
      }
      case 'usage':
        this.#usage = event;
        break;
    }
  }

  end(): void {
    if (this.#style.includeUsage) {
      const usage = this.#usage === undefined ? null : usageObject(this.#usage);
      this.#send(JSON.stringify({ ...this.#chunk([]), usage }));
    }
    this.#send('[DONE]');
  }

  #delta({ index, text = '', logprobs }: DeltaEvent): void {
    const offset = this.#offsets[index] ?? 0;
    this.#offsets[index] = offset + text.length;
    if (logprobs !== undefined) {
      this.#sendChoice({ index, text, logprobs: completionLogprobs(logprobs, offset), finish_reason: null });
    } else if (text !== '') {
      this.#textChunks[index] ??= textTemplate((content) =>
        this.#chunk([{ index, text: content, logprobs: null, finish_reason: null }]),
      );
      this.#send(this.#textChunks[index](text));
    }
  }

  #sendChoice(choice: ChunkChoice): void {
    this.#send(JSON.stringify(this.#chunk([choice])));
  }

  #chunk(choices: ChunkChoice[]): Chunk {
    return {
      id: completionId(this.#head.id),
      object: 'text_completion',
      created: this.#head.createdSeconds,
      model: this.#head.model,
      choices,
      ...(this.#style.includeUsage ? { usage: null } : {}),
    };
  }
}

interface GatheredChoice {
  text: string;
  logprobs: Logprobs | undefined;
  finish: FinishReason;
}

export class CompletionWholeWriter implements WholeWriter {
  readonly #choices: GatheredChoice[];
  #usage: UsageEvent | undefined;

  constructor(style: CompletionStyle) {
    this.#choices = Array.from({ length: style.choices }, () => ({
      text: '',
      logprobs: undefined,
      finish: 'stop',
    }));
  }

  event(event: AnswerEvent): void {
    if (event.type === 'usage') {
      this.#usage = event;
      return;
    }
    const choice = this.#choices[event.index];
    if (choice === undefined) {
      return;
    }
    if (event.type === 'finish') {
      choice.finish = event.reason;
    } else if (event.type === 'delta') {
      addDelta(choice, event);
    }
  }

  end(head: AnswerHead) {
    return {
      id: completionId(head.id),
      object: 'text_completion',
      created: head.createdSeconds,
      model: head.model,
      choices: this.#choices.map(({ text, logprobs, finish }, index) => ({
        index,
        text,
        logprobs: logprobs ?? null,
        finish_reason: completionFinishReason(finish),
      })),
      ...(this.#usage === undefined ? {} : { usage: usageObject(this.#usage) }),
    } satisfies OpenAI.Completion;
  }
}

function addDelta(choice: GatheredChoice, { text = '', logprobs }: DeltaEvent): void {
  if (logprobs !== undefined) {
    const more = completionLogprobs(logprobs, choice.text.length);
    choice.logprobs ??= { tokens: [], token_logprobs: [], top_logprobs: [], text_offset: [] };
    choice.logprobs.tokens.push(...more.tokens);
    choice.logprobs.token_logprobs.push(...more.token_logprobs);
    choice.logprobs.top_logprobs.push(...more.top_logprobs);
    choice.logprobs.text_offset.push(...more.text_offset);
  }
  choice.text += text;
}

function completionId(random: string): string {
  return `cmpl-${random}`;
}

/** A completion calls no tools: the reasons left are OpenAI's own. */
function completionFinishReason(reason: FinishReason): OpenAI.CompletionChoice['finish_reason'] {
  return reason === 'tool_calls' ? 'stop' : reason;
}

/** Columns of tokens; `offset` is where in the text the first of them stands. */
function completionLogprobs(tokens: readonly TokenLogprob[], offset: number): Logprobs {
  let at = offset;
  return {
    tokens: tokens.map(({ token }) => token),
    token_logprobs: tokens.map(({ logprob }) => logprob),
    top_logprobs: tokens.map(({ top }) =>
      Object.fromEntries(top.map((other) => [other.token, other.logprob])),
    ),
    text_offset: tokens.map(({ token }) => {
      const start = at;
      at += token.length;
      return start;
    }),
  };
}
