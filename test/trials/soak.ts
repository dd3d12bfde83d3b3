// Two thousand requests of all kinds through a mesh: what the nodes hold afterwards must be what they held before.
import { readdir } from 'node:fs/promises';
import { accounting } from '../../bench/support/accounting.ts';
import { markdownTable } from '../support/markdown-table.ts';
import { liveBytes, probed } from '../support/node-probe.ts';
import { progress, type TrialResult } from './trial.ts';
import { allJoined, TrialNode, until } from './trial-node.ts';

const requests = 2_000;
/** Requests before anything is measured: pools fill, code is compiled. */
const warmUp = 400;
const atOnce = 8;
const transports = ['quic', 'tcp'] as const;
/** What a node may hold more after the requests than before. */
const growthBytes = 8 * 1024 * 1024;
const growthSockets = 4;

interface Holding {
  readonly liveBytes: number;
  readonly residentBytes: number;
  readonly descriptors: number;
}

/** Asks one thing of a node's API; true if it went as it should. */
type Ask = (apiUrl: string) => Promise<boolean>;

export async function trialSoak(count: number = requests): Promise<TrialResult> {
  const rows: string[][] = [];
  let held = true;
  for (const transport of transports) {
    const nodes: TrialNode[] = [];
    try {
      await probed(async () => {
        const serving = await TrialNode.create('serving');
        nodes.push(serving);
        await serving.launch([
          ...['--transport', transport, '--model', 'demo', '--model', 'demo-embed', '--model', 'demo-rerank'],
        ]);
        const entry = await TrialNode.create('entry');
        nodes.push(entry);
        await entry.launch(['--transport', transport, '--join', await serving.token()]);
      });
      await allJoined(nodes);
      const entry = nodes[1]?.apiUrl ?? '';
      await until('the entry lists the models', async () => {
        const list = await (await fetch(`${entry}/models`)).text();
        return ['"demo"', '"demo-embed"', '"demo-rerank"'].every((name) => list.includes(name));
      });
      await run(entry, warmUp, transport);
      const before = await Promise.all(nodes.map(holding));
      const wrong = await run(entry, count, transport);
      // What was cancelled ends within a second, and spare streams may be there or not.
      await new Promise((resolve) => setTimeout(resolve, 6_000));
      const after = await Promise.all(nodes.map(holding));
      held &&= wrong === 0;
      for (const [index, node] of nodes.entries()) {
        const [was, is] = [before[index], after[index]];
        if (was !== undefined && is !== undefined) {
          held &&= is.liveBytes - was.liveBytes <= growthBytes;
          held &&= is.descriptors - was.descriptors <= growthSockets;
          rows.push([transport, node.name, String(count), String(wrong), ...grown(was, is)]);
        }
      }
    } finally {
      await Promise.all(nodes.map((node) => node.discard()));
    }
  }
  return {
    held,
    report: [
      markdownTable([
        ['over', 'node', 'requests', 'went wrong', 'live MiB', 'resident MiB', 'files and sockets'],
        ...rows,
      ]),
      '',
      `After ${warmUp} requests, and after so many more: chats whole and streamed, completions, embeddings, rerankings,`,
      `streams that the client leaves, and models that nobody has, ${atOnce} at once, at the node without the models.`,
      `Live bytes are those after a garbage collection; they may grow by ${growthBytes / 2 ** 20} MiB, sockets by ${growthSockets}.`,
    ].join('\n'),
  };
}

function grown(was: Holding, is: Holding): string[] {
  const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(0);
  return [
    `${mib(was.liveBytes)} -> ${mib(is.liveBytes)}`,
    `${mib(was.residentBytes)} -> ${mib(is.residentBytes)}`,
    `${was.descriptors} -> ${is.descriptors}`,
  ];
}

async function holding(node: TrialNode): Promise<Holding> {
  const { pid } = node.process;
  return {
    liveBytes: await liveBytes(node),
    residentBytes: (await accounting(pid))?.residentBytes ?? Number.NaN,
    descriptors: (await readdir(`/proc/${pid}/fd`)).length,
  };
}

/** How many of so many requests went wrong. */
async function run(apiUrl: string, count: number, transport: string): Promise<number> {
  let begun = 0;
  let wrong = 0;
  const worker = async (): Promise<void> => {
    while (begun < count) {
      const ask = asks[begun++ % asks.length] ?? chatWhole;
      wrong += (await ask(apiUrl).catch(() => false)) ? 0 : 1;
      if (begun % 500 === 0) {
        progress(`soak ${transport}: ${begun} requests, ${wrong} wrong`);
      }
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return wrong;
}

async function post(apiUrl: string, path: string, body: object, signal?: AbortSignal): Promise<Response> {
  return fetch(`${apiUrl}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    ...(signal === undefined ? {} : { signal }),
  });
}

const messages = [{ role: 'user', content: 'What is the capital of France?' }];

const chatWhole: Ask = async (apiUrl) => {
  const answer = await post(apiUrl, '/chat/completions', { model: 'demo', messages, temperature: 0 });
  return (await answer.text()).includes('Paris');
};

const chatStream: Ask = async (apiUrl) => {
  const answer = await post(apiUrl, '/chat/completions', { model: 'demo', messages, stream: true });
  return (await answer.text()).endsWith('data: [DONE]\n\n');
};

const completion: Ask = async (apiUrl) => {
  const answer = await post(apiUrl, '/completions', { model: 'demo', prompt: 'The capital', max_tokens: 8 });
  return (await answer.text()).includes('"text"');
};

const embedding: Ask = async (apiUrl) => {
  const input = ['a cat', 'a dog', 'the sea'];
  const answer = await post(apiUrl, '/embeddings', { model: 'demo-embed', input });
  return ((await answer.json()) as { data: unknown[] }).data.length === input.length;
};

const rerank: Ask = async (apiUrl) => {
  const documents = ['a cat sleeps', 'the sea is deep'];
  const answer = await post(apiUrl, '/rerank', { model: 'demo-rerank', query: 'animals', documents });
  return ((await answer.json()) as { results: unknown[] }).results.length === documents.length;
};

const left: Ask = async (apiUrl) => {
  const caller = new AbortController();
  const prompt = [{ role: 'user', content: 'Count for ever.' }];
  const body = { model: 'demo', messages: prompt, stream: true };
  const answer = await post(apiUrl, '/chat/completions', body, caller.signal);
  const reader = answer.body?.getReader();
  await reader?.read();
  caller.abort();
  return answer.status === 200;
};

const unknown: Ask = async (apiUrl) => {
  const answer = await post(apiUrl, '/chat/completions', { model: 'nobody has this', messages });
  await answer.text();
  return answer.status === 404;
};

const asks: readonly Ask[] = [
  chatWhole,
  chatStream,
  completion,
  embedding,
  rerank,
  chatStream,
  left,
  unknown,
];
