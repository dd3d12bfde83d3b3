// The way between two nodes breaks, or stands still, in the middle of answers, and neither of them dies: the answers go
// on where they were, and are the same to the last letter.
import { describe, expect, it, onTestFinished } from 'vitest';
import { sleep, systemClock } from '../../src/util/clock.ts';
import { contentOf, endless, streamedText } from '../conformance/node-under-test.ts';
import { type DelayedLink, startDelayedTcp, startDelayedUdp } from '../support/delayed-link.ts';
import { inviteBy, type Path } from '../support/mesh-process.ts';
import { paths, type RequestMesh, startMesh, wayOf } from '../support/mesh-requests.ts';

/** How long a way stands still: less than the silence after which a node is held to be gone. */
const frozenMs = 1_500;
/** Far from complete when its way breaks. */
const long = { ...endless, max_tokens: 400 };
/** Characters of an answer that have come when its way breaks. */
const begunChars = 50;

/** A mesh of two nodes whose only link goes through a relay: the one with the model, and one that asks. */
async function overRelay(path: Path): Promise<{ mesh: RequestMesh; relay: DelayedLink }> {
  const mesh = await startMesh(path, { ada: ['--model', 'demo'] });
  const ada = mesh.node('ada');
  const address = ada.address(path);
  const port = Number(address.split('/')[4]);
  const relay = await (path === 'tcp' ? startDelayedTcp(port, 0) : startDelayedUdp(port, 0));
  onTestFinished(() => relay.close());
  const relayed = address.replace(`/${port}`, `/${relay.port}`);
  const token = inviteBy(await ada.meshIssuer(), [relayed]);
  await mesh.add('bee', ['--join', token]);
  await mesh.lists('bee', { demo: 1 });
  expect(await linksOf(mesh)).toEqual([relay.port]);
  return { mesh, relay };
}

/** The ports that the asking node is linked to. */
async function linksOf(mesh: RequestMesh): Promise<number[]> {
  const peers = await mesh.node('bee').peers();
  return peers.flatMap((peer) => peer.paths.map(({ remoteAddress }) => Number(remoteAddress.split('/')[4])));
}

/** Asks for long answers, as streams and as a whole; `disturb` is called once all streams have begun. */
async function answersWhile(mesh: RequestMesh, disturb: () => void): Promise<string[]> {
  const begun = [1, 2].map(() => Promise.withResolvers<void>());
  const clients = begun.map(() => mesh.client('bee'));
  const streams = begun.map(async ({ resolve }, index) => {
    let text = '';
    const stream = await clients[index]?.openai.chat.completions.create({ ...long, stream: true });
    for await (const chunk of stream ?? []) {
      text += streamedText([chunk]);
      if (text.length >= begunChars) {
        resolve();
      }
    }
    return text;
  });
  const whole = mesh.client('bee').openai.chat.completions.create(long).then(contentOf);
  await Promise.all(begun.map(({ promise }) => promise));
  disturb();
  const texts = await Promise.all([...streams, whole]);
  for (const { answers } of clients) {
    expect(wayOf(answers[0])).toMatchObject({ peer: 'ada', attempts: 1 });
  }
  return texts;
}

describe.each(paths)('over %s, answers in the middle of which the way', (path) => {
  it('stands still for a while go on', async () => {
    const { mesh, relay } = await overRelay(path);
    const wanted = contentOf(await mesh.client('ada').openai.chat.completions.create(long));
    const beganMs = performance.now();
    const texts = await answersWhile(mesh, () => {
      relay.freeze();
      void sleep(systemClock, frozenMs).then(() => relay.thaw());
    });
    expect(performance.now() - beganMs).toBeGreaterThan(frozenMs);
    expect(texts).toEqual([wanted, wanted, wanted]);
    expect(await linksOf(mesh)).toEqual([relay.port]);
  });
});

describe('over tcp, answers in the middle of which the way', () => {
  it('breaks go on over another', async () => {
    const { mesh, relay } = await overRelay('tcp');
    const wanted = contentOf(await mesh.client('ada').openai.chat.completions.create(long));
    const texts = await answersWhile(mesh, () => relay.cut());
    expect(texts).toEqual([wanted, wanted, wanted]);
    expect(await linksOf(mesh)).not.toContain(relay.port);
  });
});
