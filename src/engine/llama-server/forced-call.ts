// A chat that must call a tool: the answer is held to the JSON of one call, whatever the model would rather say. The
// server's own way lets the model talk for as long as it likes before it calls, and knows no choice of a function.
import type { InferenceEvent, ToolCallDelta } from '../../inference/events.ts';
import type { ChatRequest, Tool } from '../../inference/request.ts';
import { type Random, randomId } from '../../util/random.ts';
import { toolJson } from '../openai/request.ts';
import { type AnswerOptions, completionAnswer } from './completion-answer.ts';
import { forcedCallSchema } from './schema-tools.ts';
import { templateBody } from './server-calls.ts';

/** The tools of which one must be called; undefined: the model may answer in words. */
export function forcedTools({ output }: ChatRequest): readonly Tool[] | undefined {
  const { tools, toolChoice } = output;
  switch (toolChoice.type) {
    case 'required':
      return tools.length > 0 ? tools : undefined;
    case 'function': {
      const named = tools.filter(({ name }) => name === toolChoice.name);
      return named.length > 0 ? named : undefined;
    }
    case 'auto':
    case 'none':
      return undefined;
  }
}

/** The prompt of such a chat: its messages, and all of its tools as the template describes them. */
export function forcedCallPrompt(
  request: ChatRequest,
  options: Pick<AnswerOptions, 'run' | 'signal'>,
): Promise<string> {
  const body = { ...templateBody(request), tools: request.output.tools.map(toolJson) };
  return options.run.prompt(body, options.signal);
}

/** The events of one group of choices, each of which is one call. Throws as `completionAnswer`. */
export async function* forcedCallAnswer(
  request: ChatRequest,
  tools: readonly Tool[],
  prompt: string,
  options: AnswerOptions & { readonly random: Random },
): AsyncGenerator<InferenceEvent, void, undefined> {
  const { topLogprobs: _none, ...output } = request.output;
  const format = { type: 'schema', name: 'call', schema: forcedCallSchema(tools), strict: true } as const;
  const asked: ChatRequest = { ...request, output: { ...output, format, stop: [] } };
  const calls = Array.from(
    { length: options.choices },
    () => new CallText(`call_${randomId(options.random, 24)}`),
  );
  for await (const event of completionAnswer(asked, prompt, options)) {
    const call = event.type === 'delta' || event.type === 'finish' ? calls[event.index] : undefined;
    if (event.type === 'delta') {
      yield* callDeltas(event.index, call?.add(event.text ?? ''));
    } else if (event.type === 'finish') {
      yield* callDeltas(event.index, call?.end());
      yield event.reason === 'stop' ? { ...event, reason: 'tool_calls' } : event;
    } else {
      yield event;
    }
  }
}

function* callDeltas(index: number, pieces: readonly ToolCallDelta[] = []): Generator<InferenceEvent> {
  for (const toolCall of pieces) {
    yield { type: 'delta', index, toolCall };
  }
}

/** The text of one call, as it comes. */
export class CallText {
  readonly #id: string;
  #text = '';
  #named = false;

  constructor(id: string) {
    this.#id = id;
  }

  /** What can be told of the call now. */
  add(text: string): ToolCallDelta[] {
    this.#text += text;
    const head = this.#named ? undefined : callHead.exec(this.#text);
    const name = head?.[1];
    if (head !== null && head !== undefined && name !== undefined) {
      this.#named = true;
      this.#text = this.#text.slice(head[0].length);
      return [{ call: 0, id: this.#id, name: String(JSON.parse(`"${name}"`)) }, ...this.#arguments()];
    }
    return this.#named ? this.#arguments() : [];
  }

  /** The text is over: its last brace closes the call, not the arguments. */
  end(): ToolCallDelta[] {
    const rest = this.#text.trimEnd();
    this.#text = '';
    const last = rest.endsWith('}') ? rest.slice(0, -1).trimEnd() : rest;
    return this.#named && last !== '' ? [{ call: 0, arguments: last }] : [];
  }

  /** Whether closing braces are the last ones is known only at the end. */
  #arguments(): ToolCallDelta[] {
    const held = /[\s}]*$/.exec(this.#text)?.index ?? this.#text.length;
    const known = this.#text.slice(0, held);
    this.#text = this.#text.slice(held);
    return known === '' ? [] : [{ call: 0, arguments: known }];
  }
}

const callHead = /^\s*\{\s*"name"\s*:\s*"((?:[^"\\]|\\.)*)"\s*,\s*"arguments"\s*:\s*/;
