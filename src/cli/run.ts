// `meshnode run MODEL [PROMPT]`: one question or a conversation in the terminal, streamed. Ctrl-C stops an
// answer; at the prompt it ends the chat.
import { createInterface, type Interface } from 'node:readline/promises';
import { addAbortSignal } from 'node:stream';
import { text as readAll } from 'node:stream/consumers';
import { loadConfig } from '../node/config.ts';
import { asMeshnodeError, MeshnodeError } from '../util/errors.ts';
import { type ChatOptions, type ChatTurn, streamChat } from './chat-client.ts';
import { openChatEndpoint } from './chat-endpoint.ts';
import { type CommandContext, requiredArgument } from './command-context.ts';

export async function run(context: CommandContext): Promise<number> {
  const temperature = context.options.number('temperature');
  const maxTokens = context.options.number('max-tokens');
  const loaded = await loadConfig(context.options.flags(), context.environment);
  const endpoint = await openChatEndpoint(context, loaded, requiredArgument(context, 0));
  try {
    const { apiUrl, token, model } = endpoint;
    const settings = {
      apiUrl,
      token,
      model,
      ...(temperature === undefined ? {} : { temperature }),
      ...(maxTokens === undefined ? {} : { maxTokens }),
    };
    const prompt = context.arguments[1] ?? (await pipedPrompt(context));
    if (prompt === undefined) {
      await converse(context, settings);
    } else {
      await askOnce(context, settings, prompt);
    }
    return 0;
  } finally {
    await endpoint.close();
  }
}

/** What was piped in instead of typed; undefined on a terminal. */
async function pipedPrompt({ input, interrupted }: CommandContext): Promise<string | undefined> {
  if (input.isTTY === true) {
    return undefined;
  }
  const prompt = (await readAll(addAbortSignal(interrupted, input))).trim();
  if (prompt === '') {
    throw new MeshnodeError('usage', 'There is no prompt: standard input is empty.', {
      hint: 'Give it as an argument: meshnode run MODEL "PROMPT".',
    });
  }
  return prompt;
}

type Settings = Omit<ChatOptions, 'messages'>;

async function askOnce(context: CommandContext, settings: Settings, prompt: string): Promise<void> {
  const messages = [...systemTurns(context), { role: 'user', content: prompt } as const];
  await printAnswer(context, { ...settings, messages }, context.interrupted);
}

async function converse(context: CommandContext, settings: Settings): Promise<void> {
  const { output, input, interrupted } = context;
  // The prompt is for people: standard output has the answers only.
  const lines = createInterface({ input, output: output.streams.stderr, historySize: 100 });
  output.say(`${settings.model}: type a message; /clear forgets the conversation, /bye or Ctrl-D ends it.`);
  let turns = systemTurns(context);
  try {
    for (;;) {
      const said = await nextLine(lines, interrupted);
      if (said === undefined || said === '/bye') {
        return;
      }
      if (said === '/clear') {
        turns = systemTurns(context);
      } else if (said !== '') {
        turns = await takeTurn(context, settings, [...turns, { role: 'user', content: said }], lines);
      }
    }
  } finally {
    lines.close();
  }
}

/**
 * One question and its answer. Ctrl-C ends the answer only, and what came of it stays in the conversation; a
 * question without any answer does not.
 */
async function takeTurn(
  context: CommandContext,
  settings: Settings,
  turns: ChatTurn[],
  lines: Interface,
): Promise<ChatTurn[]> {
  const { output, interrupted } = context;
  const stop = new AbortController();
  const onInterrupt = (): void => stop.abort();
  lines.once('SIGINT', onInterrupt);
  let text = '';
  try {
    const signal = AbortSignal.any([stop.signal, interrupted]);
    await printAnswer(context, { ...settings, messages: turns }, signal, (piece) => {
      text += piece;
    });
  } catch (thrown) {
    interrupted.throwIfAborted();
    const error = asMeshnodeError(thrown);
    output.say(stop.signal.aborted ? '\n(stopped)' : `\n${error.message} ${error.hint}`);
  } finally {
    lines.off('SIGINT', onInterrupt);
  }
  return text === '' ? turns.slice(0, -1) : [...turns, { role: 'assistant', content: text }];
}

/** What a person types next; undefined at the end of input or Ctrl-C. */
async function nextLine(lines: Interface, interrupted: AbortSignal): Promise<string | undefined> {
  const ended = new AbortController();
  const end = (): void => ended.abort();
  lines.once('close', end);
  lines.once('SIGINT', end);
  try {
    return (await lines.question('> ', { signal: AbortSignal.any([ended.signal, interrupted]) })).trim();
  } catch {
    interrupted.throwIfAborted();
    return undefined;
  } finally {
    lines.off('close', end);
    lines.off('SIGINT', end);
  }
}

/** Prints an answer as it comes; `heard` is told of every piece of it. */
async function printAnswer(
  { output }: CommandContext,
  options: ChatOptions,
  signal: AbortSignal,
  heard: (piece: string) => void = () => {},
): Promise<void> {
  const pieces = streamChat(options, signal);
  let next = await pieces.next();
  for (; next.done !== true; next = await pieces.next()) {
    const text = next.value;
    heard(text);
    if (output.json) {
      output.event({ event: 'text', text });
    } else {
      output.piece(text);
    }
  }
  if (output.json) {
    output.event({ event: 'end', ...next.value });
  } else {
    output.piece('\n');
  }
}

function systemTurns({ options }: CommandContext): ChatTurn[] {
  const system = options.text('system');
  return system === undefined ? [] : [{ role: 'system', content: system }];
}
