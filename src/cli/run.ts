// `meshnode run MODEL [PROMPT]`: a conversation in the terminal, streamed, with the running node or one
// that lives as long as the chat. The first Ctrl-C stops an answer, at the prompt it ends the chat.
import { createInterface, type Interface } from 'node:readline/promises';
import { text as readAll } from 'node:stream/consumers';
import { catalogueNames } from '../models/catalogue.ts';
import { parseReference } from '../models/reference.ts';
import { type LoadedConfig, loadConfig } from '../node/config.ts';
import type { RunningNode } from '../node/node.ts';
import { sleep } from '../util/clock.ts';
import { asMeshnodeError, MeshnodeError } from '../util/errors.ts';
import { createLogger } from '../util/logging.ts';
import { type ChatEnd, type ChatOptions, type ChatTurn, streamChat } from './chat-client.ts';
import { type CommandContext, requiredArgument } from './command-context.ts';
import { formatBar } from './format.ts';
import { LiveRegion } from './live-region.ts';
import { NodeClient } from './node-client.ts';

/** Where to ask, and what to undo afterwards. */
interface Endpoint {
  readonly apiUrl: string;
  /** Name to ask for. */
  readonly model: string;
  close(): Promise<void>;
}

export async function run(context: CommandContext): Promise<number> {
  const reference = requiredArgument(context, 0);
  const loaded = await loadConfig(context.options.flags(), context.environment);
  const endpoint = await findEndpoint(context, loaded, reference);
  try {
    const [apiKey] = loaded.config.apiKeys;
    const temperature = context.options.number('temperature');
    const maxTokens = context.options.number('max-tokens');
    const settings = {
      apiUrl: endpoint.apiUrl,
      model: endpoint.model,
      ...(apiKey === undefined ? {} : { apiKey }),
      ...(temperature === undefined ? {} : { temperature }),
      ...(maxTokens === undefined ? {} : { maxTokens }),
    };
    const prompt = context.arguments[1] ?? (await pipedPrompt(context));
    return prompt === undefined
      ? await converse(context, settings)
      : await askOnce(context, settings, prompt);
  } finally {
    await endpoint.close();
  }
}

/** What was piped in instead of typed; undefined on a terminal. */
async function pipedPrompt({ input }: CommandContext): Promise<string | undefined> {
  if (input.isTTY === true) {
    return undefined;
  }
  const prompt = (await readAll(input)).trim();
  if (prompt === '') {
    throw new MeshnodeError('usage', 'There is no prompt: standard input is empty.', {
      hint: 'Give it as an argument: meshnode run MODEL "PROMPT".',
    });
  }
  return prompt;
}

type Settings = Omit<ChatOptions, 'messages'>;

async function askOnce(context: CommandContext, settings: Settings, prompt: string): Promise<number> {
  const turns = [...systemTurns(context), { role: 'user', content: prompt } as const];
  const { end } = await printAnswer(context, { ...settings, messages: turns }, context.interrupted);
  if (context.output.json) {
    context.output.value({
      event: 'end',
      finishReason: end.finishReason,
      completionTokens: end.completionTokens,
    });
  }
  return 0;
}

async function converse(context: CommandContext, settings: Settings): Promise<number> {
  const { output, input } = context;
  const lines = createInterface({ input, output: output.streams.stdout, historySize: 100 });
  output.say(`${settings.model}: type a message; /clear forgets the conversation, /bye or Ctrl-D ends it.`);
  let turns = systemTurns(context);
  try {
    for (;;) {
      const said = await nextLine(lines);
      if (said === undefined || said === '/bye') {
        return 0;
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

/** One question and its answer; Ctrl-C ends the answer only, and what came of it stays in the conversation. */
async function takeTurn(
  context: CommandContext,
  settings: Settings,
  turns: ChatTurn[],
  lines: Interface,
): Promise<ChatTurn[]> {
  const stop = new AbortController();
  const onInterrupt = (): void => stop.abort();
  lines.once('SIGINT', onInterrupt);
  try {
    const { text } = await printAnswer(context, { ...settings, messages: turns }, stop.signal);
    return [...turns, { role: 'assistant', content: text }];
  } catch (thrown) {
    const error = asMeshnodeError(thrown, 'node_not_running');
    context.output.say(stop.signal.aborted ? '\n(stopped)' : `\n${error.message} ${error.hint}`);
    return turns.slice(0, -1);
  } finally {
    lines.off('SIGINT', onInterrupt);
  }
}

/** What a person types next; undefined at the end of input or Ctrl-C. */
function nextLine(lines: Interface): Promise<string | undefined> {
  const ended = new AbortController();
  const end = (): void => ended.abort();
  lines.once('close', end);
  lines.once('SIGINT', end);
  return lines
    .question('> ', { signal: ended.signal })
    .then((line) => line.trim())
    .catch(() => undefined)
    .finally(() => {
      lines.off('close', end);
      lines.off('SIGINT', end);
    });
}

async function printAnswer(
  { output }: CommandContext,
  options: ChatOptions,
  signal: AbortSignal,
): Promise<{ text: string; end: ChatEnd }> {
  let text = '';
  const pieces = streamChat(options, signal);
  for (;;) {
    const next = await pieces.next();
    if (next.done === true) {
      if (!output.json) {
        output.piece('\n');
      }
      return { text, end: next.value };
    }
    text += next.value;
    if (output.json) {
      output.value({ event: 'text', text: next.value });
    } else {
      output.piece(next.value);
    }
  }
}

function systemTurns({ options }: CommandContext): ChatTurn[] {
  const system = options.text('system');
  return system === undefined ? [] : [{ role: 'system', content: system }];
}

/** The running node with the model loaded, else a node of our own. */
async function findEndpoint(
  context: CommandContext,
  loaded: LoadedConfig,
  reference: string,
): Promise<Endpoint> {
  const live = new LiveRegion(context.output);
  try {
    const client = await runningNode(loaded.paths.dataDir);
    return client === undefined
      ? await startOwn(context, loaded, reference, live)
      : await useRunning(context, client, reference, live);
  } finally {
    live.close();
  }
}

async function runningNode(dataDir: string): Promise<NodeClient | undefined> {
  return NodeClient.find(dataDir).catch(() => undefined);
}

/** How often the state of a loading model is asked for. */
const pollMs = 200;

async function useRunning(
  { clock, interrupted }: CommandContext,
  client: NodeClient,
  reference: string,
  live: LiveRegion,
): Promise<Endpoint> {
  let asked = false;
  for (;;) {
    const { apiUrl, models } = await client.status(interrupted);
    const found = models.find((model) => model.name === reference || model.reference === reference);
    if (found?.stage === 'ready') {
      return { apiUrl, model: found.name, close: async () => {} };
    }
    if (found?.stage === 'failed' && asked) {
      throw new MeshnodeError('model_failed', found.error?.message ?? `${reference} failed to load.`, {
        ...(found.error === undefined ? {} : { hint: found.error.hint }),
      });
    }
    if (!asked) {
      await client.load(reference, interrupted);
      asked = true;
    }
    const bar = found?.fraction === undefined ? '' : formatBar(found.fraction);
    live.show(reference, `${reference}: ${found?.stage ?? 'loading'} ${bar}`);
    await sleep(clock, pollMs, interrupted);
  }
}

async function startOwn(
  { clock, random, environment, output, interrupted }: CommandContext,
  { config, paths }: LoadedConfig,
  reference: string,
  live: LiveRegion,
): Promise<Endpoint> {
  const { name } = parseReference(reference, catalogueNames);
  // A chat in a running node does not need all this.
  const { startNode } = await import('../node/node.ts');
  const log = createLogger(config.logLevel, output.streams.stderr, { pretty: true });
  const own = { ...config, model: [reference], attach: [], host: '127.0.0.1', port: 0, headless: true };
  const node = await startNode({ config: own, environment, dataDir: paths.dataDir }, { clock, random, log });
  try {
    await modelReady(node, interrupted, live);
    return { apiUrl: node.apiUrl, model: name, close: () => node.stop({ drainMs: 0 }) };
  } catch (error) {
    await node.stop({ drainMs: 0 });
    throw error;
  }
}

function modelReady(node: RunningNode, interrupted: AbortSignal, live: LiveRegion): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onInterrupt = (): void =>
    reject(new MeshnodeError('interrupted', 'Stopped while the model was loading.'));
  interrupted.addEventListener('abort', onInterrupt, { once: true });
  const unfollow = node.serving.onChange((status) => {
    if (status.stage === 'ready') {
      resolve();
    } else if (status.stage === 'failed') {
      reject(status.error ?? new MeshnodeError('model_failed', `${status.name} failed to load.`));
    } else {
      const bar = status.fraction === undefined ? '' : formatBar(status.fraction);
      live.show(status.name, `${status.name}: ${status.stage} ${bar}`);
    }
  });
  if (node.serving.readiness().ready) {
    resolve();
  }
  return promise.finally(() => {
    unfollow();
    interrupted.removeEventListener('abort', onInterrupt);
  });
}
