// What the llama-server engine does beyond the suite of all engines: its own routes, its bounds, its process.
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Pool } from 'undici';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import type { LoadedModel } from '../../src/engine/engine.ts';
import { processIdentity } from '../../src/engine/process-facts.ts';
import type { InferenceRequest } from '../../src/inference/request.ts';
import { writeGguf } from '../../src/models/gguf-writer.ts';
import { MeshnodeError } from '../../src/util/errors.ts';
import {
  chatRequest,
  collect,
  complete,
  completionRequest,
  embeddingRequest,
  rerankRequest,
} from '../support/engine-answers.ts';
import { smallTool } from '../support/engine-compliance-constraints.ts';
import { loadLlamaServer } from '../support/llama-server.ts';
import { toolTemplate, writeRetemplated } from '../support/retemplated.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { rejectionOf } from '../support/thrown.ts';

const folder = await temporaryFolder();
const twoSlots = { parallel: 2 };

let demo: LoadedModel;
let demoPid: () => number;
let withTools: LoadedModel;
beforeAll(async () => {
  const plain = await loadLlamaServer('demo', twoSlots);
  demo = plain.model;
  demoPid = plain.pid;
  const path = await writeRetemplated('demo', toolTemplate, join(folder, 'tools.gguf'));
  withTools = (await loadLlamaServer('demo', { ...twoSlots, path })).model;
});
afterAll(() => Promise.all([demo?.unload(), withTools?.unload()]));

/** Arguments of a running process. */
async function argumentsOf(pid: number): Promise<string[]> {
  return (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0');
}

describe('a chat', () => {
  it('gives every token id of a character that takes several tokens', async () => {
    const text = 'é日🎉é';
    const format = { type: 'grammar', grammar: `root ::= "${text}"` } as const;
    const answer = await complete(demo, chatRequest('demo', 'Say hello.', { format, maxTokens: 40 }));
    expect(answer.text()).toBe(text);
    expect(answer.tokenIds()).toEqual(await demo.tokenize(text));
    expect(answer.tokenIds().length).toBe(Buffer.byteLength(text));
  });

  it('continues a trailing message of the assistant', async () => {
    expect(demo.capabilities.features.has('continue')).toBe(true);
    const request = chatRequest('demo', 'Count for ever.', { maxTokens: 24 });
    const whole = (await complete(demo, request)).text();
    const beginning = whole.slice(0, 9);
    const messages = [
      ...request.messages,
      { role: 'assistant', content: [{ type: 'text', text: beginning }] } as const,
    ];
    const rest = await complete(demo, { ...request, messages });
    expect(beginning + rest.text()).toContain(whole);
  });

  it('has more choices than there are slots', async () => {
    const request = completionRequest('demo', 'x', {
      choices: 5,
      maxTokens: 12,
      sampling: { temperature: 2, seed: 7 },
    });
    const answer = await complete(demo, request);
    const texts = [0, 1, 2, 3, 4].map((index) => answer.text(index));
    expect(answer.usage?.completion).toBe(60);
    expect(new Set(texts).size, texts.join(' | ')).toBe(5);
    expect([0, 1, 2, 3, 4].map((index) => answer.finish(index))).toEqual(Array(5).fill('length'));
  });

  it('calls the function that is named, and no other', async () => {
    const other = { ...smallTool, name: 'another', parameters: { type: 'object', properties: {} } };
    const answer = await complete(
      withTools,
      chatRequest('demo', 'Say hello.', {
        tools: [other, smallTool],
        toolChoice: { type: 'function', name: smallTool.name },
        maxTokens: 200,
      }),
    );
    expect(answer.toolCalls()[0]?.name).toBe(smallTool.name);
    expect(answer.finish()).toBe('tool_calls');
    expect(answer.text()).toBe('');
  });

  it('that may call tools and does not is cut before its stop sequence, and counted', async () => {
    const options = { tools: [smallTool], maxTokens: 30 };
    const whole = await complete(withTools, chatRequest('demo', 'Say hello.', options));
    const text = whole.text();
    expect(text.length).toBeGreaterThan(3);
    const stop = [text.slice(2, 4)];
    const cut = await complete(withTools, chatRequest('demo', 'Say hello.', { ...options, stop }));
    expect(cut.text()).toBe(text.slice(0, 2));
    expect(cut.finish()).toBe('stop');
    expect(cut.usage?.completion).toBeGreaterThan(0);
    expect(cut.usage?.prompt).toBe(whole.usage?.prompt);
  });

  it('keeps text that might have become a stop sequence at its end, with tools too', async () => {
    const options = { tools: [smallTool], maxTokens: 4 };
    const text = (await complete(withTools, chatRequest('demo', 'Say hello.', options))).text();
    const stop = [`${text.slice(-2)}~never~`];
    const answer = await complete(withTools, chatRequest('demo', 'Say hello.', { ...options, stop }));
    expect(answer.text()).toBe(text);
  });

  it('is refused what only other templates can do', async () => {
    const { error } = await collect(demo, chatRequest('demo', 'hello', { tools: [smallTool] }));
    expect(error).toMatchObject({ code: 'unsupported_parameter', param: 'tools' });
  });
});

describe('a chat by the route that takes tools apart', () => {
  it('ends as soon as one choice is cut and the other has ended by itself', async () => {
    const options = { tools: [smallTool], choices: 2, maxTokens: 2_000, sampling: { temperature: 0 } };
    const whole = await complete(withTools, chatRequest('demo', 'Say hello.', options));
    const text = whole.text();
    // Both are alike: cut in the first only is not possible, so both are.
    const answer = await complete(
      withTools,
      chatRequest('demo', 'Say hello.', { ...options, stop: [text.slice(2, 4)] }),
    );
    expect([answer.finish(0), answer.finish(1)]).toEqual(['stop', 'stop']);
    expect(answer.usage?.completion).toBeLessThan(20);
  });

  it.each(['auto', 'required'] as const)(
    'refuses log probabilities beside tools, %s, by name',
    async (type) => {
      const options = { tools: [smallTool], topLogprobs: 1, toolChoice: { type } };
      const { error } = await collect(withTools, chatRequest('demo', 'hello', options));
      expect(error).toMatchObject({ code: 'unsupported_parameter', param: 'logprobs' });
    },
  );

  it.each(['auto', 'required'] as const)('refuses tools, %s, that would end the server', async (type) => {
    const circle = { $defs: { a: { $ref: '#/$defs/a' } }, allOf: [{ $ref: '#/$defs/a' }] };
    const options = { tools: [{ name: 'f', parameters: circle }], toolChoice: { type } };
    const { error } = await collect(withTools, chatRequest('demo', 'hello', options));
    expect(error).toMatchObject({ code: 'invalid_schema', param: 'tools' });
    await complete(withTools, chatRequest('demo', 'hello', { maxTokens: 1 }));
  });
});

describe('a text to embed or to rank', () => {
  it.each<[string, (text: string) => InferenceRequest]>([
    ['demo-embed', (text) => embeddingRequest('demo-embed', [text])],
    ['demo-rerank', (text) => rerankRequest('demo-rerank', 'x', [text])],
  ])('that is too long for %s is told so', async (name, request) => {
    const { model } = await loadLlamaServer(name);
    onTestFinished(() => model.unload());
    const { error } = await collect(model, request('word '.repeat(20_000)));
    expect(error).toMatchObject({ code: 'context_length_exceeded', retryable: false });
  });
});

describe('a completion', () => {
  it('is refused samplers that are named more than once', async () => {
    const extra = { samplers: Array.from({ length: 1_000 }, () => 'dry') };
    const { error } = await collect(demo, completionRequest('demo', 'x', { extra }));
    expect(error).toMatchObject({ code: 'invalid_request', param: 'samplers' });
  });

  it('repeats its prompt if that is asked for', async () => {
    const answer = await complete(demo, completionRequest('demo', '1 2 3', { echo: true, maxTokens: 4 }));
    expect(answer.text()).toMatch(/^1 2 3./);
  });

  it('is refused by the server in one sentence, and the server goes on', async () => {
    const format = { type: 'grammar', grammar: 'root ::= nowhere' } as const;
    const { error } = await collect(demo, completionRequest('demo', 'x', { format }));
    expect(error).toMatchObject({ code: 'invalid_request', phase: 'before-output' });
    await complete(demo, completionRequest('demo', 'x', { maxTokens: 1 }));
  });
});

describe('its process', () => {
  it('answers nobody who does not have its key, which no argument tells', async () => {
    const args = await argumentsOf(demoPid());
    const socketPath = args[args.indexOf('--host') + 1] ?? '';
    expect(socketPath).toMatch(/\.sock$/);
    expect(args.join(' ')).not.toContain('key');
    const stranger = new Pool('http://x', { socketPath });
    onTestFinished(() => stranger.close());
    const answer = await stranger.request({ method: 'GET', path: '/props' });
    expect(answer.statusCode).toBe(401);
    await answer.body.dump();
  });

  it('sees nothing of what the node keeps to itself, and starts no debugger', async () => {
    const environment = { ...process.env, MESHNODE_API_KEY: 'of-the-node', LLAMA_ARG_HOST: '0.0.0.0' };
    const { model, pid } = await loadLlamaServer('demo', { environment });
    onTestFinished(() => model.unload());
    const seen = (await readFile(`/proc/${pid()}/environ`, 'utf8')).split('\0');
    expect(seen).toContain('GGML_NO_BACKTRACE=1');
    expect(seen.filter((entry) => /^(MESHNODE|LLAMA_ARG)/.test(entry))).toEqual([]);
  });

  it('is one of several, each with its model', async () => {
    const embed = await loadLlamaServer('demo-embed');
    const pid = embed.pid();
    const [chat, vectors] = await Promise.all([
      complete(demo, chatRequest('demo', 'Say hello.', { maxTokens: 4 })),
      complete(embed.model, embeddingRequest('demo-embed', ['a grey river'])),
    ]);
    expect(chat.text()).not.toBe('');
    expect(vectors.vectors()).toHaveLength(1);
    await embed.model.unload();
    await vi.waitFor(async () => expect(await processIdentity(pid)).toBeUndefined());
    await complete(demo, chatRequest('demo', 'Say hello.', { maxTokens: 1 }));
  });

  it('leaves no socket behind', async () => {
    const runFolder = join(folder, 'run');
    const { model, pid } = await loadLlamaServer('demo', { runFolder });
    expect(await readdir(runFolder)).toHaveLength(1);
    await model.unload();
    expect(await processIdentity(pid())).toBeUndefined();
    expect(await readdir(runFolder)).toEqual([]);
  });

  it('listens elsewhere if the data folder lies too deep for a socket', async () => {
    const runFolder = join(folder, 'deep'.repeat(40));
    const { model } = await loadLlamaServer('demo', { runFolder });
    onTestFinished(() => model.unload());
    await complete(model, chatRequest('demo', 'Say hello.', { maxTokens: 1 }));
  });

  it('does not outlive a load that is given up', async () => {
    const caller = new AbortController();
    const reason = new MeshnodeError('cancelled', 'No longer wanted.');
    const load = loadLlamaServer('demo', { signal: caller.signal, onProgress: () => caller.abort(reason) });
    expect(await rejectionOf(load)).toBe(reason);
  });
});

describe('a model that the server refuses', () => {
  it('is told by what the server says of it', async () => {
    const path = join(folder, 'nonsense.gguf');
    await writeGguf(path, {
      metadata: new Map([
        ['general.architecture', { type: 'string', value: 'nonsense' }],
        ['tokenizer.chat_template', { type: 'string', value: '{{ messages }}' }],
      ]),
      tensors: [],
    });
    const error = await rejectionOf(loadLlamaServer('nonsense', { path }));
    expect(error).toMatchObject({ code: 'model_failed', message: expect.stringContaining("'nonsense'") });
  });

  it('is no GGUF at all', async () => {
    const path = join(folder, 'text.gguf');
    await writeFile(path, 'This is no model.');
    expect(await rejectionOf(loadLlamaServer('text', { path }))).toMatchObject({ code: 'gguf_invalid' });
  });
});
