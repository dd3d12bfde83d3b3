// `meshnode plan` as a person runs it: alone, in a mesh of real nodes, and for a model that is only on the hub.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { demoModelPath } from '../support/demo-models.ts';
import { nativeSearch } from '../support/llama-server.ts';
import { RequestMesh } from '../support/mesh-requests.ts';
import { runMeshnode } from '../support/started-process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { TestHub } from '../support/test-hub.ts';

const folder = await temporaryFolder();
const { programs } = await nativeSearch();

/** More cache than one node of 200 MiB holds, and less than two. */
const larger = ['--ctx', '24576', '--parallel', '1'];

describe('a plan without a node', () => {
  const run = (...args: string[]) => runMeshnode(['plan', ...args, '--data-dir', join(folder, 'home')]);

  it('is for this machine, in words and for programs', async () => {
    const words = await run('demo');
    expect(words.exitCode).toBe(0);
    expect(words.stdout).toMatch(/^demo: 4 layers, 1 slot of 2048 tokens/);
    expect(words.stdout).toContain('Solo on this machine: it fits there whole.');
    expect(words.stderr).toContain('No node runs here');
    const { stdout } = await run('demo', '--json');
    expect(JSON.parse(stdout)).toMatchObject({ mode: 'solo', layers: 4, replicas: [{ hasFile: true }] });
  });

  it('that cannot be says so, what would help, and fails', async () => {
    const { exitCode, stdout } = await run('demo', '--max-vram', '1MiB');
    expect(exitCode).toBe(1);
    expect(stdout).toContain('No plan: no node holds it alone');
    expect(stdout).toContain('What would help');
  });

  it('for a model on the hub leaves the model there', async () => {
    const hub = await TestHub.start();
    onTestFinished(() => hub.close());
    const bytes = Buffer.concat([await readFile(demoModelPath('demo')), Buffer.alloc(16 * 1024 ** 2)]);
    hub.publish('acme/Demo-GGUF', { 'Demo-Q8_0.gguf': bytes });
    const environment = { HF_ENDPOINT: hub.endpoint, HF_HOME: join(folder, 'hf') };
    const { exitCode, stdout, stderr } = await runMeshnode(['plan', 'hf:acme/Demo-GGUF:Q8_0', '--json'], {
      environment,
    });
    expect(exitCode, stderr).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ mode: 'solo', replicas: [{ hasFile: false }] });
    expect(hub.requests.reduce((sum, { sentBytes }) => sum + sentBytes, 0)).toBeLessThan(8 * 1024 ** 2);
  });

  it.each([
    [['nothing-of-the-kind'], 'model_ref_invalid'],
    [['demo', '--replicas', 'many'], 'usage'],
  ])('of %j is refused in one sentence', async (args) => {
    const { exitCode, stdout, stderr } = await run(...args);
    expect(exitCode).toBeGreaterThan(0);
    expect(stdout).toBe('');
    expect(stderr).not.toContain('    at ');
  });
});

describe.skipIf(programs === undefined)('a plan in a mesh', () => {
  it('cuts over two nodes what neither holds, and says how', async () => {
    const bounded = ['--max-vram', '200MiB'];
    const mesh = await RequestMesh.start('tcp', { ada: bounded, bee: bounded });
    onTestFinished(() => mesh.discard());
    const planned = async (): Promise<Record<string, unknown>> => {
      const { stdout } = await mesh.node('ada').run('plan', 'demo', ...larger, '--json');
      return JSON.parse(stdout) as Record<string, unknown>;
    };
    // Members tell what they have once they have looked at their machine.
    await expect
      .poll(async () => (await planned())['mode'], { timeout: 20_000, interval: 200 })
      .toBe('pipeline');
    const { host, leftOut } = await planned();
    // The host's memory is taken by table and process: all layers go to the other one.
    expect(host).toMatchObject({
      ...{ name: 'ada', hasFile: true, gpuLayers: 5, tensorSplit: [5] },
      stages: [{ node: 'bee', place: 'worker', firstLayer: 0, endLayer: 5, rttMs: expect.any(Number) }],
    });
    expect(leftOut).toMatchObject([{ name: 'ada', device: expect.any(String), reason: 'not-needed' }]);
    const { stdout } = await mesh.node('ada').run('plan', 'demo', ...larger);
    expect(stdout).toContain('Pipeline over 1 device of 1 node');
    expect(stdout).toMatch(/Host\s+ada \(has the file\): -ngl 5/);
    // The other node has no file of its own accord, but the same demo models: it plans alike but for that.
    const others = await mesh.node('bee').run('plan', 'demo', ...larger, '--json');
    expect(JSON.parse(others.stdout)).toMatchObject({ mode: 'pipeline', host: { name: 'bee' } });
  });
});
