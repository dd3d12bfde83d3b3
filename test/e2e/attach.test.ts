// A node beside a server that comes, goes, comes back and changes its mind. The double listens on a real
// port and can be stopped and started again on the same one. The tests mostly wait for the node's next look
// at the server, so they wait together.
import { describe, expect, type TestContext, test } from 'vitest';
import { DoubleOpenAiServer } from '../support/double-openai-server.ts';
import { nextEvent, postChat } from '../support/node-under-test.ts';
import { type StartedNode, startNode } from '../support/started-process.ts';

async function startDouble({ onTestFinished }: TestContext): Promise<DoubleOpenAiServer> {
  const double = new DoubleOpenAiServer();
  await double.start();
  onTestFinished(() => double.stop());
  return double;
}

async function startAttached(
  double: DoubleOpenAiServer,
  { onTestFinished }: TestContext,
): Promise<StartedNode> {
  const node = await startNode(['--attach', double.url]);
  onTestFinished(() => node.stop('SIGKILL'));
  return node;
}

const hello = { model: 'double', prompt: 'Hello' };

describe('an attached server', { concurrent: true }, () => {
  test('lends the node the models that it lists', async (context) => {
    const double = await startDouble(context);
    const node = await startAttached(double, context);
    const ready = await node.process.event('model', { model: 'double', state: 'ready' });
    expect(ready).toMatchObject({ mode: 'solo' });
    expect((await postChat(node, hello)).status).toBe(200);

    const gone = nextEvent(node.process, { event: 'model', model: 'double', state: 'unloaded' });
    const other = nextEvent(node.process, { event: 'model', model: 'other', state: 'ready' });
    double.knobs.models = ['other'];
    await Promise.all([gone, other]);
    expect((await postChat(node, hello)).status).toBe(404);
    expect((await postChat(node, { ...hello, model: 'other' })).status).toBe(200);
  });

  test('that dies is waited for', async (context) => {
    const double = await startDouble(context);
    const node = await startAttached(double, context);
    await node.process.event('model', { state: 'ready' });
    const lost = nextEvent(node.process, { event: 'model', state: 'loading' });
    const back = nextEvent(node.process, { event: 'model', state: 'ready' });
    await double.stop();
    // The failed request makes the node look at once.
    expect((await postChat(node, hello)).status).toBeGreaterThanOrEqual(502);
    expect(await lost).toMatchObject({ model: 'double', error: { code: 'attach_failed' } });
    expect(await (await postChat(node, hello)).json()).toMatchObject({ error: { code: 'model_loading' } });
    await double.start();
    expect(await back).toMatchObject({ model: 'double' });
    expect((await postChat(node, hello)).status).toBe(200);
  });

  test('may come later than the node, which says once that it is missing', async (context) => {
    const double = await startDouble(context);
    await double.stop();
    const node = await startAttached(double, context);
    const error = await node.process.event('error');
    expect(error).toMatchObject({ code: 'attach_failed', hint: expect.any(String) });
    expect(error['message']).toContain(`127.0.0.1:${double.port}`);
    await double.start();
    await node.process.event('model', { model: 'double', state: 'ready' });
    expect((await postChat(node, hello)).status).toBe(200);
    expect(node.process.lines.filter(({ event }) => event === 'error')).toHaveLength(1);
  });
});
