// In the middle of an answer that crosses the mesh: its node dies while the client has nothing yet, its engine dies, its
// node is told to stop.
import { APIError } from 'openai';
import { describe, expect, it } from 'vitest';
import { contentOf, endless, failureOf, forSeconds, hello } from '../conformance/node-under-test.ts';
import { paths, type RequestMesh, startMesh, wayOf } from '../support/mesh-requests.ts';
import { enginePid } from '../support/node-under-test.ts';
import type { StartedNode } from '../support/started-process.ts';

/** Goes on until its engine is held, also on a fast machine. */
const long = { ...endless, max_tokens: 800 };
/** Time within which a client hears that its answer is lost. */
const lostMs = 5_000;
/** Time within which an engine that was killed is loaded again. */
const reloadedMs = 20_000;

/** Resolves once a piece of the first answer to a client of this node has come there. */
async function hasPiece({ origin }: StartedNode): Promise<void> {
  const metrics = async () => (await fetch(`${origin}/metrics`)).text();
  await expect
    .poll(metrics, { timeout: 5_000, interval: 10 })
    .toContain('meshnode_ttft_seconds_count{model="demo"} 1');
}

async function busyOf(mesh: RequestMesh, names: readonly string[]): Promise<string> {
  const queues = await Promise.all(names.map(async (name) => (await mesh.served(name, 'demo')).queue));
  return names.find((_, index) => queues[index]?.running === 1) ?? '';
}

describe.each(paths)('over %s, in the middle of an answer', (path) => {
  it('its node is killed: whoever wanted the whole gets it from the other one', async () => {
    const serving = ['--model', 'demo'];
    const mesh = await startMesh(path, { bee: [], ada: serving, ann: serving });
    await mesh.lists('bee', { demo: 2 });
    const wanted = contentOf(await mesh.client('ada').openai.chat.completions.create(long));

    const { openai, answers } = mesh.client('bee');
    const asked = openai.chat.completions.create(long);
    await hasPiece(mesh.started('bee'));
    const busy = await busyOf(mesh, ['ada', 'ann']);
    await mesh.holdEngine(busy, 'demo');
    mesh.node(busy).process.child.kill('SIGKILL');
    const answer = await asked;
    expect(contentOf(answer)).toBe(wanted);
    expect(answer.usage?.completion_tokens).toBe(long.max_tokens);
    expect(wayOf(answers[0])).toMatchObject({ peer: busy === 'ada' ? 'ann' : 'ada', attempts: 2 });
  });

  it('its engine is killed: the client is told, and the model answers again once it is loaded', async () => {
    const mesh = await startMesh(path, { bee: [], ada: ['--model', 'demo'] });
    await mesh.lists('bee', { demo: 1 });
    const raw = await mesh.rawStream('bee', forSeconds);
    await raw.until(/"content":"[^"]/);
    const killed = await enginePid(mesh.started('ada'), 'demo');
    const killedAtMs = performance.now();
    process.kill(killed, 'SIGKILL');
    const received = await raw.closed;
    expect(performance.now() - killedAtMs, 'ms until the client has heard').toBeLessThan(lostMs);
    expect(received).toContain('"code":"engine_lost"');
    expect(received).not.toContain('[DONE]');

    const { openai } = mesh.client('bee');
    const answered = () => openai.chat.completions.create(hello).then(contentOf, () => '');
    await expect.poll(answered, { timeout: reloadedMs, interval: 200 }).not.toBe('');
    expect(await enginePid(mesh.started('ada'), 'demo', killed)).not.toBe(killed);
  });

  it('its node is told to stop: it ends the answer first, and takes no other', async () => {
    const mesh = await startMesh(path, { bee: [], ada: ['--model', 'demo'] });
    await mesh.lists('bee', { demo: 1 });
    const raw = await mesh.rawStream('bee', { ...forSeconds, max_tokens: 400 });
    await raw.until(/"content":"[^"]/);
    const release = await mesh.holdEngine('ada', 'demo');
    const { process: ada } = mesh.node('ada');
    ada.child.kill('SIGTERM');
    await expect.poll(() => ada.stderr, { timeout: 5_000 }).toContain('Waiting for 1 running answer');
    const failure = await failureOf(mesh.client('bee').openai.chat.completions.create(hello));
    expect(failure).toBeInstanceOf(APIError);
    expect(failure).toMatchObject({
      code: expect.stringMatching(/^(shutting_down|peer_unreachable|model_not_found)$/),
    });
    release();
    const received = await raw.until('[DONE]');
    expect(received).toContain('"finish_reason":"length"');
    expect(await ada.exited).toBe(0);
    await mesh.lists('bee', {});
  });
});
