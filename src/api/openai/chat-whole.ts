// A chat answer as one object.
import type OpenAI from 'openai';
import type {
  DeltaEvent,
  FinishReason,
  TokenLogprob,
  ToolCallDelta,
  UsageEvent,
} from '../../inference/events.ts';
import type { JsonObject } from '../../util/json.ts';
import type { AnswerEvent, AnswerHead, WholeWriter } from '../surface.ts';
import { type ChatStyle, chatFinishReason, chatId, chatLogprobs } from './chat-parts.ts';
import { usageObject } from './usage.ts';

/** A choice as far as it has come. */
class GatheredChoice {
  text: string | undefined;
  reasoning: string | undefined;
  finish: FinishReason = 'stop';
  logprobs: TokenLogprob[] | undefined;
  readonly extra: JsonObject = {};
  readonly toolCalls: Array<{ id: string; name: string; arguments: string }> = [];

  add({ text, reasoning, toolCall, logprobs, extra }: DeltaEvent): void {
    if (text !== undefined) {
      this.text = (this.text ?? '') + text;
    }
    if (reasoning !== undefined) {
      this.reasoning = (this.reasoning ?? '') + reasoning;
    }
    if (toolCall !== undefined) {
      this.#addToolCall(toolCall);
    }
    if (logprobs !== undefined) {
      this.logprobs ??= [];
      this.logprobs.push(...logprobs);
    }
    Object.assign(this.extra, extra);
  }

  #addToolCall({ call, id, name, arguments: piece }: ToolCallDelta): void {
    const gathered = this.toolCalls[call] ?? { id: '', name: '', arguments: '' };
    this.toolCalls[call] = {
      id: id ?? gathered.id,
      name: name ?? gathered.name,
      arguments: gathered.arguments + (piece ?? ''),
    };
  }
}

export class ChatWholeWriter implements WholeWriter {
  readonly #style: ChatStyle;
  readonly #choices: GatheredChoice[];
  #usage: UsageEvent | undefined;

  constructor(style: ChatStyle) {
    this.#style = style;
    this.#choices = Array.from({ length: style.choices }, () => new GatheredChoice());
  }

  event(event: AnswerEvent): void {
    if (event.type === 'usage') {
      this.#usage = event;
    } else if (event.type === 'delta') {
      this.#choices[event.index]?.add(event);
    } else if (event.type === 'finish') {
      const choice = this.#choices[event.index];
      if (choice !== undefined) {
        choice.finish = event.reason;
      }
    }
  }

  end(head: AnswerHead) {
    return {
      id: chatId(head.id),
      object: 'chat.completion',
      created: head.createdSeconds,
      model: head.model,
      choices: this.#choices.map((choice, index) => ({
        index,
        message: this.#message(choice),
        logprobs: choice.logprobs === undefined ? null : chatLogprobs(choice.logprobs),
        finish_reason: chatFinishReason(choice.finish, this.#style),
      })),
      ...(this.#usage === undefined ? {} : { usage: usageObject(this.#usage) }),
    } satisfies OpenAI.ChatCompletion;
  }

  #message(choice: GatheredChoice) {
    return {
      ...choice.extra,
      role: 'assistant',
      content: choice.text ?? (choice.toolCalls.length > 0 ? null : ''),
      refusal: null,
      ...(choice.reasoning === undefined ? {} : { reasoning_content: choice.reasoning }),
      ...this.#calls(choice),
    } satisfies OpenAI.ChatCompletionMessage;
  }

  #calls({ toolCalls }: GatheredChoice) {
    const [first] = toolCalls;
    if (first === undefined) {
      return {};
    }
    if (this.#style.legacyFunctions) {
      return { function_call: { name: first.name, arguments: first.arguments } };
    }
    return {
      tool_calls: toolCalls.map(({ id, ...called }) => ({ id, type: 'function' as const, function: called })),
    };
  }
}
