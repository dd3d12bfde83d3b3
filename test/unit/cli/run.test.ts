// `meshnode run` beside a whole node in this process, over an engine double: which model is meant, what its
// failures become, and what Ctrl-C ends.
import { rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { LoadOptions, ModelFile } from '../../../src/engine/engine.ts';
import type { InferenceRequest } from '../../../src/inference/request.ts';
import { resolveConfig } from '../../../src/node/config.ts';
import type { NodeParts } from '../../../src/node/machine-parts.ts';
import { type RunningNode, startNode } from '../../../src/node/node.ts';
import { systemClock } from '../../../src/util/clock.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { silentLogger } from '../../../src/util/logging.ts';
import { systemRandom } from '../../../src/util/random.ts';
import { type StartedCommand, startCommandLine } from '../../support/command-line.ts';
import { DoubleEngine, type DoubleModel } from '../../support/double-engine.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

/** A double that remembers what it was asked. */
class ListeningEngine extends DoubleEngine {
  readonly asked: InferenceRequest[] = [];

  override async load(model: ModelFile, options: LoadOptions = {}): Promise<DoubleModel> {
    const loaded = await super.load(model, options);
    const infer = loaded.infer.bind(loaded);
    loaded.infer = (request, signal) => {
      this.asked.push(request);
      return infer(request, signal);
    };
    return loaded;
  }
}

const dataDir = await temporaryFolder();
let engine: ListeningEngine;
let node: RunningNode;
/** Finds the files of a model; a test may put another in its place. */
let find: NodeParts['ports']['resolve'];

const fileOf = (reference: string, path = `/models/${reference}`) => ({
  name: reference,
  reference,
  path,
  files: [],
  sizeBytes: 1,
});

beforeEach(async () => {
  engine = new ListeningEngine();
  find = async (reference) => fileOf(reference);
  const parts: NodeParts = {
    engines: [engine],
    rpcBuild: async () => undefined,
    detectHardware: async () => ({
      devices: [],
      cpu: { model: 'double', logicalCores: 1, allowedCores: 1 },
      memory: { totalBytes: 1, usableBytes: 1 },
      notes: [],
    }),
    ports: {
      resolve: (reference, options) => find(reference, options),
      fit: async () => ({ neededBytes: 1, usableBytes: 1, contextTokens: 1 }),
      demand: async () => 1,
      identity: async ({ path }) => path,
      digest: async () => 'ab'.repeat(32),
      attach: async () => {
        throw new MeshnodeError('attach_failed', 'Nobody is there.');
      },
    },
    close: async () => {},
  };
  const { config } = resolveConfig({ port: '0', consolePort: '0', model: ['demo'] }, {}, undefined);
  node = await startNode(
    { config, environment: {}, dataDir },
    { clock: systemClock, random: systemRandom, log: silentLogger, makeParts: async () => parts },
  );
});
afterEach(async () => {
  await node.stop({ drainMs: 0 });
  await rm(dataDir, { recursive: true });
});

function run(args: readonly string[], options: { terminal?: boolean } = {}): StartedCommand {
  return startCommandLine(['run', ...args, '--data-dir', dataDir], {}, options);
}

const eventsOf = (stdout: string) =>
  stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

describe('meshnode run', () => {
  it('answers with the model that another reference to the same file has loaded', async () => {
    find = async (reference) => fileOf(reference, '/models/demo');
    const { exitCode, stdout } = await run(['/models/other.gguf', 'Hello']).outcome;
    expect([exitCode, stdout.trim() === '']).toEqual([0, false]);
    expect(engine.asked.at(-1)?.model.name).toBe('demo');
    expect(node.serving.served()).toHaveLength(1);
  });

  it('means a file of its own working folder by a relative path', async () => {
    const found: string[] = [];
    find = async (reference) => {
      found.push(reference);
      return fileOf(reference);
    };
    expect((await run(['./mine.gguf', 'Hello']).outcome).exitCode).toBe(0);
    expect(found).toContain(resolve('mine.gguf'));
  });

  it('ends as the model failed', async () => {
    find = async () => {
      throw new MeshnodeError('model_file_missing', 'There is no file /models/none.gguf.', {
        hint: 'Look for it elsewhere.',
      });
    };
    const { exitCode, stdout, stderr } = await run(['/models/none.gguf', 'Hello', '--json']).outcome;
    expect(exitCode).toBe(1);
    expect(eventsOf(stdout)).toMatchObject([{ event: 'error', code: 'model_file_missing' }]);
    expect(stderr).toContain('There is no file /models/none.gguf.\n  Look for it elsewhere.\n');
  });

  it('ends when the model is unloaded while it loads', async () => {
    const asked = Promise.withResolvers<void>();
    find = (_reference, { signal }) => {
      asked.resolve();
      return new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      });
    };
    const { outcome } = run(['/models/slow.gguf', 'Hello']);
    await asked.promise;
    await node.serving.unload('slow');
    const { exitCode, stderr } = await outcome;
    expect(exitCode).toBe(69);
    expect(stderr).toContain('unloaded');
  });

  it('refuses what is no reference', async () => {
    const { exitCode, stderr } = await run(['dmeo', 'Hello']).outcome;
    expect(exitCode).toBe(2);
    expect(stderr).toContain('Did you mean `demo`?');
  });

  it('tells programs each piece and the end, and when', async () => {
    const { stdout } = await run(['demo', 'Hello', '--json', '--max-tokens', '8']).outcome;
    const events = eventsOf(stdout);
    expect(events.at(0)).toMatchObject({ event: 'text', text: expect.any(String) });
    expect(events.at(-1)).toMatchObject({ event: 'end', completionTokens: 8, finishReason: 'length' });
    for (const { time } of events) {
      expect(new Date(time).toISOString()).toBe(time);
    }
  });

  it('ends with 130 and one word when it is interrupted', async () => {
    engine.knobs.hangAfterTokens = 2;
    const command = run(['demo', 'Hello']);
    await expect.poll(() => command.printed.stdout, { interval: 5 }).not.toBe('');
    command.interrupt();
    expect(await command.outcome).toMatchObject({ exitCode: 130, stderr: 'meshnode: Stopped.\n' });
  });

  it('ends with 130 when it is interrupted before there is a prompt', async () => {
    const command = run(['demo']);
    command.interrupt();
    expect(await command.outcome).toMatchObject({ exitCode: 130, stderr: 'meshnode: Stopped.\n' });
  });
});

describe('a conversation', () => {
  const ctrlC = '\x03';

  it('keeps what came of an answer that was stopped', async () => {
    const command = run(['demo', '--max-tokens', '8'], { terminal: true });
    const { printed, type, outcome } = command;
    await expect.poll(() => printed.stderr, { interval: 5 }).toContain('> ');
    engine.knobs.hangAfterTokens = 3;
    type('First question\r');
    await expect.poll(() => printed.stdout, { interval: 5 }).not.toBe('');
    type(ctrlC);
    await expect.poll(() => printed.stderr, { interval: 5 }).toMatch(/\(stopped\).*> /s);
    const partial = printed.stdout;
    engine.knobs.hangAfterTokens = undefined;
    type('Second question\r');
    await expect.poll(() => printed.stdout.endsWith('\n'), { interval: 5 }).toBe(true);
    expect(engine.asked.at(-1)).toMatchObject({
      messages: [
        { role: 'user', content: [{ type: 'text', text: 'First question' }] },
        { role: 'assistant', content: [{ type: 'text', text: partial }] },
        { role: 'user', content: [{ type: 'text', text: 'Second question' }] },
      ],
    });
    type('/bye\r');
    expect((await outcome).exitCode).toBe(0);
  });

  it('ends at its prompt by Ctrl-C, and by a signal at any time', async () => {
    const first = run(['demo'], { terminal: true });
    await expect.poll(() => first.printed.stderr, { interval: 5 }).toContain('> ');
    first.type(ctrlC);
    expect((await first.outcome).exitCode).toBe(0);
    const second = run(['demo'], { terminal: true });
    await expect.poll(() => second.printed.stderr, { interval: 5 }).toContain('> ');
    second.interrupt();
    expect((await second.outcome).exitCode).toBe(130);
  });
});
