// A node leaves its mesh while it answers: what it has it brings to an end, unless another one can answer it from the
// beginning, and takes no more.
import { describe, expect, it } from 'vitest';
import { contentOf, endless, hello } from '../conformance/node-under-test.ts';
import { paths, startMesh, wayOf } from '../support/mesh-requests.ts';

/** Goes on until its engine is held, also on a fast machine. */
const long = { ...endless, max_tokens: 400 };

describe.each(paths)('over %s, a node that leaves', (path) => {
  it('leaves a request that it has given nothing for to another one', async () => {
    const serving = ['--model', 'demo'];
    const mesh = await startMesh(path, { bee: [], ada: serving, ann: serving });
    await mesh.lists('bee', { demo: 2 });
    await mesh.holdEngine('ada', 'demo');
    const release = await mesh.holdEngine('ann', 'demo');
    const clients = [mesh.client('bee'), mesh.client('bee')];
    const answers = clients.map(({ openai }) => openai.chat.completions.create(hello).then(contentOf));
    await mesh.share(['ada', 'ann'], 'demo', [1, 1]);
    const left = mesh.node('ada').json('leave');
    release();
    const [first, second] = await Promise.all(answers);
    expect(first).not.toBe('');
    expect(second).toBe(first);
    expect(clients.map(({ answers: [seen] }) => wayOf(seen).peer)).toEqual(['ann', 'ann']);
    expect(await left).toEqual([{ left: true, told: true }]);
    await mesh.lists('bee', { demo: 1 });
  });

  it('brings to an end what it has if nobody else can, given anything or not', async () => {
    const mesh = await startMesh(path, { bee: [], ada: ['--model', 'demo'] });
    await mesh.lists('bee', { demo: 1 });
    const stream = await mesh.rawStream('bee', long);
    await stream.until(/"content":"[^"]/);
    const release = await mesh.holdEngine('ada', 'demo');
    const whole = mesh.client('bee').openai.chat.completions.create(hello);
    await mesh.share(['ada'], 'demo', [2]);
    const left = mesh.node('ada').json('leave');
    await expect.poll(() => mesh.models('bee'), { timeout: 5_000, interval: 20 }).toEqual({});
    release();
    expect(await stream.until('[DONE]')).toContain('"finish_reason":"length"');
    expect(contentOf(await whole)).not.toBe('');
    expect(await left).toEqual([{ left: true, told: true }]);
  });
});
