import { describe, expect, it } from 'vitest';
import {
  type Launch,
  serverArguments,
  serverEnvironment,
} from '../../../../src/engine/llama-server/launch.ts';
import { loadFailure } from '../../../../src/engine/llama-server/load-failure.ts';
import { parseMetrics } from '../../../../src/engine/llama-server/metrics.ts';
import { thrownBy } from '../../../support/thrown.ts';

const launch: Launch = {
  modelPath: '/models/a b.gguf',
  alias: 'a',
  use: 'generate',
  size: { contextTokens: 4096, slots: 4 },
  threads: 3,
  offload: 'none',
  freePerGpuBytes: 2 * 1024 ** 3,
  socketPath: '/run/x.sock',
  promptCacheBytes: 512 * 1024 ** 2,
};

/** The value behind a flag. */
const valueBehind = (flag: string, args: readonly string[]): string | undefined =>
  args[args.indexOf(flag) + 1];

describe('the arguments of a llama-server', () => {
  it('give each slot its own context', () => {
    const args = serverArguments(launch);
    expect(valueBehind('--ctx-size', args)).toBe('16384');
    expect(valueBehind('--parallel', args)).toBe('4');
    expect(args).toContain('--no-kv-unified');
  });

  it('listen on a socket, and open no page, no tools, no network', () => {
    const args = serverArguments(launch);
    expect(valueBehind('--host', args)).toBe('/run/x.sock');
    expect(args).toEqual(expect.arrayContaining(['--no-webui', '--no-slots', '--offline']));
    for (const flag of [
      '--props',
      '--tools',
      '--slot-save-path',
      '--media-path',
      '--models-dir',
      '--ui-mcp-proxy',
    ]) {
      expect(args).not.toContain(flag);
    }
  });

  it('hold no key: every user of the machine sees them', () => {
    const environment = serverEnvironment(
      { PATH: '/bin', MESHNODE_API_KEY: 'theirs', LLAMA_ARG_HOST: '0.0.0.0' },
      'ours',
    );
    expect(environment).toEqual({ PATH: '/bin', LLAMA_API_KEY: 'ours', GGML_NO_BACKTRACE: '1' });
  });

  it('put everything on the GPUs that hold it, and what fits where they do not', () => {
    expect(valueBehind('--n-gpu-layers', serverArguments(launch))).toBe('0');
    const all = serverArguments({ ...launch, offload: 'all' });
    expect([valueBehind('--n-gpu-layers', all), valueBehind('--fit', all)]).toEqual(['all', 'off']);
    const fitting = serverArguments({ ...launch, offload: 'fitting' });
    expect([valueBehind('--n-gpu-layers', fitting), valueBehind('--fit', fitting)]).toEqual(['auto', 'on']);
    expect(valueBehind('--fit-target', fitting)).toBe('2048');
  });

  it('compute a text to embed or rank in one batch', () => {
    const size = { contextTokens: 512, slots: 1 };
    expect(serverArguments({ ...launch, use: 'embed', size })).toEqual(
      expect.arrayContaining(['--embeddings', '--ubatch-size', '512']),
    );
    expect(serverArguments({ ...launch, use: 'rank', size })).toContain('--reranking');
  });
});

describe('why a llama-server did not come up', () => {
  const ended = (logTail: string) => loadFailure('m', { code: 1, signal: null, logTail });

  it.each([
    [
      'ggml_backend_cuda_buffer_type_alloc_buffer: allocating 4096.00 MiB on device 0: cudaMalloc failed: out of memory',
    ],
    ['llama_kv_cache: failed to allocate buffer for kv cache'],
  ])('is memory: %s', (line) => {
    expect(ended(line)).toMatchObject({ code: 'model_too_large' });
  });

  it('is what the loader says of the file', () => {
    expect(
      ended("0.00.001 E llama_model_load: error loading model: unknown model architecture: 'nonsense'\n"),
    ).toMatchObject({
      code: 'model_failed',
      message: expect.stringContaining("unknown model architecture: 'nonsense'"),
    });
  });

  it('is its end, where it said nothing', () => {
    expect(loadFailure('m', { code: null, signal: 'SIGILL', logTail: '' }).message).toContain('SIGILL');
  });
});

describe('the metrics of a llama-server', () => {
  it('tell what it has to do', () => {
    const text = '# HELP x y\nllamacpp:requests_processing 2\nllamacpp:requests_deferred 1\n';
    expect(parseMetrics(text)).toEqual({ processing: 2, deferred: 1 });
  });

  it('are an error where they are something else', () => {
    expect(thrownBy(() => parseMetrics('<html>'))).toMatchObject({ code: 'engine_protocol' });
  });
});
