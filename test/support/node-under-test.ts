// What end-to-end tests do to a running node: chat with it, wait for its next events, and find the
// processes below it, to count them or to harm them.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { onTestFinished, vi } from 'vitest';
import { writeSyntheticModel } from '../../src/models/synthetic.ts';
import { descendants, type JsonLine, type StartedNode, type StartedProcess } from './started-process.ts';

export { endingMark, endlessMark } from '../../src/models/synthetic-chat.ts';

/** Writes a tiny model that chats, called after its file; prompts with the marks end soon or never. */
export async function writeChatModel(folder: string, name = 'tiny'): Promise<string> {
  const path = join(folder, `${name}.gguf`);
  await writeSyntheticModel(path, 'dense', 1);
  return path;
}

export interface Chat {
  readonly model: string;
  readonly prompt: string;
  readonly maxTokens?: number;
  readonly headers?: Record<string, string>;
}

/** Asks for a whole answer. */
export function postChat(node: Pick<StartedNode, 'apiUrl'>, chat: Chat): Promise<Response> {
  return post(node, chat, false);
}

/** A streamed answer as far as it has come. */
export interface OpenStream {
  readonly response: Response;
  /** Resolves once the text holds `wanted`; rejects if it ends before. */
  until(wanted: string): Promise<void>;
  /** All of the text, and whether the connection was broken off before a proper end. */
  readonly ended: Promise<{ text: string; broken: boolean }>;
  /** Hangs up. */
  cancel(): void;
}

/** Asks for a stream; resolves with its headers. It is hung up on when the test is over. */
export async function openStream(node: Pick<StartedNode, 'apiUrl'>, chat: Chat): Promise<OpenStream> {
  const caller = new AbortController();
  onTestFinished(() => caller.abort());
  const response = await post(node, chat, true, caller.signal);
  const arrived = new EventTarget();
  let text = '';
  const read = async (): Promise<boolean> => {
    try {
      for await (const piece of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
        text += piece;
        arrived.dispatchEvent(new Event('text'));
      }
      return false;
    } catch {
      return true;
    }
  };
  const ended = read().then((broken) => ({ text, broken }));
  return {
    response,
    ended,
    cancel: () => caller.abort(),
    until: (wanted) =>
      new Promise((resolve, reject) => {
        const look = (): void => (text.includes(wanted) ? resolve() : undefined);
        arrived.addEventListener('text', look);
        look();
        void ended.then(() => reject(new Error(`The stream ended without ${wanted}: ${text}`)));
      }),
  };
}

function post(
  { apiUrl }: Pick<StartedNode, 'apiUrl'>,
  chat: Chat,
  stream: boolean,
  signal?: AbortSignal,
): Promise<Response> {
  const { model, prompt, maxTokens = 20, headers } = chat;
  return fetch(`${apiUrl}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({
      model,
      stream,
      max_tokens: maxTokens,
      messages: [{ role: 'user', content: prompt }],
    }),
    ...(signal === undefined ? {} : { signal }),
  });
}

/** The next event of these fields that the process prints from now on. */
export function nextEvent(process: StartedProcess, fields: JsonLine): Promise<JsonLine> {
  const seen = new Set(process.lines);
  return process.line(
    (line) => !seen.has(line) && Object.entries(fields).every(([name, value]) => line[name] === value),
  );
}

/**
 * Process id of the engine that holds `model`, as the node recorded it. Waits until there is one other than
 * `former` that has left the shell which starts it: one that is halted before would be ended by the kernel.
 */
export async function enginePid(node: StartedNode, model: string, former?: number): Promise<number> {
  return vi.waitFor(
    async () => {
      const { processes } = JSON.parse(await readFile(join(node.home, 'processes.json'), 'utf8')) as {
        processes: Array<{ pid: number; name: string }>;
      };
      const names = [`embedded/${model}`, `llama-server/${model}`];
      const found = processes.find(({ pid, name }) => names.includes(name) && pid !== former);
      if (found === undefined) {
        throw new Error(`No process is recorded for ${model}.`);
      }
      const commandLine = await readFile(`/proc/${found.pid}/cmdline`, 'utf8');
      if (commandLine.startsWith('/bin/sh')) {
        throw new Error(`The process of ${model} is still a shell.`);
      }
      return found.pid;
    },
    { timeout: 10_000, interval: 10 },
  );
}

/** A process, all below it, and all in the groups that those lead: the watcher of an engine has lost its parent. */
export async function processTree(pid: number): Promise<number[]> {
  const below = await descendants(pid);
  const pids = new Set([pid, ...below]);
  for (const name of await readdir('/proc')) {
    const stat = /^\d+$/.test(name) ? await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '') : '';
    const group = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[2]);
    if (below.includes(group)) {
      pids.add(Number(name));
    }
  }
  return [...pids];
}
