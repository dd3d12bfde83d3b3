// A replica dies or hangs before it has given anything: another one answers, and whoever asked notices nothing but a
// pause.
import { describe, expect, it } from 'vitest';
import { contentOf, hello, streamedText } from '../conformance/node-under-test.ts';
import { type MeshClient, paths, startMesh, type Way, wayOf } from '../support/mesh-requests.ts';

/** Time that the loss of a replica may add to an answer. */
const addedMs = 5_000;

interface Answered {
  readonly text: string;
  /** Of a whole answer only: the headers of a stream may go out before it is known who answers. */
  readonly way?: Way;
}

async function askedWhole({ openai, answers }: MeshClient): Promise<Answered> {
  const text = contentOf(await openai.chat.completions.create(hello));
  return { text, way: wayOf(answers[0]) };
}

async function askedStream({ openai }: MeshClient): Promise<Answered> {
  const chunks = await Array.fromAsync(await openai.chat.completions.create({ ...hello, stream: true }));
  return { text: streamedText(chunks) };
}

describe.each(paths)('over %s, a replica that has accepted requests and given nothing', (path) => {
  it.each([
    ['is killed', 'SIGKILL'],
    ['hangs', 'SIGSTOP'],
  ] as const)('%s: the other one answers them, and is the only one asked then', async (_, signal) => {
    const serving = ['--model', 'demo'];
    const mesh = await startMesh(path, { bee: [], ada: serving, ann: serving });
    await mesh.lists('bee', { demo: 2 });
    const wanted = await askedWhole(mesh.client('ada'));

    const release = { ada: await mesh.holdEngine('ada', 'demo'), ann: await mesh.holdEngine('ann', 'demo') };
    const requests: Promise<Answered>[] = [];
    for (const [order, ask] of [askedWhole, askedWhole, askedStream, askedStream].entries()) {
      const client = mesh.client('bee');
      requests.push(ask(client));
      // One after the other, and each to the replica that has less to do.
      const [first, second] = [1 + (order >> 1), (order + 1) >> 1];
      await mesh.share(['ada', 'ann'], 'demo', [first, second]);
    }
    mesh.node('ada').process.child.kill(signal);
    const harmedMs = performance.now();
    release.ann();
    const answers = await Promise.all(requests);
    expect(performance.now() - harmedMs, 'ms until all were answered').toBeLessThan(addedMs);

    expect(answers.map(({ text }) => text)).toEqual([1, 2, 3, 4].map(() => wanted.text));
    const ways = answers.flatMap(({ way }) => way ?? []);
    expect(ways.map(({ peer }) => peer)).toEqual(['ann', 'ann']);
    expect(ways.map(({ attempts }) => attempts).sort()).toEqual([1, 2]);

    const { way } = await askedWhole(mesh.client('bee'));
    expect(way).toMatchObject({ peer: 'ann', attempts: 1, route: { where: 'remote' } });
  });
});
