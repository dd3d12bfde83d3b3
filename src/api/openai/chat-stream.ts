// A chat answer as chunks: one id, the role once per choice, a finish reason, usage last if asked for.
import type OpenAI from 'openai';
import type { DeltaEvent, ToolCallDelta, UsageEvent } from '../../inference/events.ts';
import type { JsonObject } from '../../util/json.ts';
import type { AnswerEvent, AnswerHead, SendFrame, StreamWriter } from '../surface.ts';
import { type ChatStyle, chatFinishReason, chatId, chatLogprobs } from './chat-parts.ts';
import { textTemplate } from './text-template.ts';
import { usageObject } from './usage.ts';

type Chunk = OpenAI.ChatCompletionChunk;
type Choice = OpenAI.ChatCompletionChunk.Choice;

export class ChatStreamWriter implements StreamWriter {
  readonly #head: AnswerHead;
  readonly #style: ChatStyle;
  readonly #send: SendFrame;
  /** By choice that has begun: writes a chunk that holds only text. */
  readonly #textChunks: Array<((text: string) => string) | undefined>;
  #usage: UsageEvent | undefined;

  constructor(head: AnswerHead, style: ChatStyle, send: SendFrame) {
    this.#head = head;
    this.#style = style;
    this.#send = send;
    this.#textChunks = new Array(style.choices);
  }

  event(event: AnswerEvent): void {
    switch (event.type) {
      case 'delta':
        this.#delta(event);
        break;
      case 'finish':
        this.#begin(event.index);
        this.#sendChoice({
          index: event.index,
          delta: {},
          logprobs: null,
          finish_reason: chatFinishReason(event.reason, this.#style),
        });
        break;
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

  #delta(event: DeltaEvent): void {
    const textChunk = this.#begin(event.index);
    if (event.text !== undefined && isOnlyText(event)) {
      this.#send(textChunk(event.text));
      return;
    }
    const delta = deltaObject(event, this.#style);
    if (Object.keys(delta).length > 0 || event.logprobs !== undefined) {
      const logprobs = event.logprobs === undefined ? null : chatLogprobs(event.logprobs);
      this.#sendChoice({ index: event.index, delta, logprobs, finish_reason: null });
    }
  }

  /** Sends the role before a choice's first piece. Gives the writer of its text chunks. */
  #begin(index: number): (text: string) => string {
    const begun = this.#textChunks[index];
    if (begun !== undefined) {
      return begun;
    }
    const plain = (delta: Choice['delta']): Choice => ({ index, delta, logprobs: null, finish_reason: null });
    this.#sendChoice(plain({ role: 'assistant', content: '' }));
    const textChunk = textTemplate((text) => this.#chunk([plain({ content: text })]));
    this.#textChunks[index] = textChunk;
    return textChunk;
  }

  #sendChoice(choice: Choice): void {
    this.#send(JSON.stringify(this.#chunk([choice])));
  }

  #chunk(choices: Choice[]): Chunk {
    return {
      id: chatId(this.#head.id),
      object: 'chat.completion.chunk',
      created: this.#head.createdSeconds,
      model: this.#head.model,
      choices,
      ...(this.#style.includeUsage ? { usage: null } : {}),
    };
  }
}

function isOnlyText({ reasoning, toolCall, logprobs, extra }: DeltaEvent): boolean {
  return reasoning === undefined && toolCall === undefined && logprobs === undefined && extra === undefined;
}

/** Fields we do not know come first: they never replace one that we do. */
function deltaObject(event: DeltaEvent, style: ChatStyle): Choice['delta'] & JsonObject {
  return {
    ...event.extra,
    ...(event.text === undefined ? {} : { content: event.text }),
    ...(event.reasoning === undefined ? {} : { reasoning_content: event.reasoning }),
    ...(event.toolCall === undefined ? {} : toolCallFields(event.toolCall, style)),
  };
}

/** Id, type and name stand in a call's first piece only. */
function toolCallFields({ call, id, name, arguments: text = '' }: ToolCallDelta, style: ChatStyle) {
  const called = { ...(name === undefined ? {} : { name }), arguments: text };
  if (style.legacyFunctions) {
    return { function_call: called };
  }
  const first = id === undefined ? {} : { id, type: 'function' as const };
  return { tool_calls: [{ index: call, ...first, function: called }] };
}
