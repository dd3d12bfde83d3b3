import { readFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { inspectModel } from '../../../src/models/inspect-model.ts';
import { demoFolder } from '../../../src/node/machine-parts.ts';
import { demoModelPath } from '../../support/demo-models.ts';
import { type HubSetup, hubReference, setUpHub } from '../../support/hub-setup.ts';
import { rejectionOf } from '../../support/thrown.ts';

const repository = 'acme/Demo-GGUF';
let setup: HubSetup;
let bytes: Buffer;

beforeEach(async () => {
  setup = await setUpHub();
  // Behind the header come a megabyte and more that nobody needs to know.
  bytes = await readFile(demoModelPath('demo'));
  setup.server.publish(repository, { 'Demo-Q8_0.gguf': Buffer.concat([bytes, Buffer.alloc(8 * 1024 ** 2)]) });
});
afterEach(() => setup.close());

const inspect = (reference: string, hub = setup.client()) =>
  inspectModel(reference, { hub, demoFolder }, new AbortController().signal);

describe('looking at a model', () => {
  it('on the hub reads what it says of itself, and leaves it there', async () => {
    const model = await inspect(`hf:${repository}:Q8_0`);
    expect(model).toMatchObject({ isHere: false, hubSha256: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(model.files.tensorCount).toBeGreaterThan(10);
    const sent = setup.server.requests.reduce((sum, { sentBytes }) => sum + sentBytes, 0);
    expect(sent).toBeLessThan(bytes.length + 2 * 1024 ** 2);
    expect(setup.server.requests.some(({ range }) => range?.startsWith('bytes=0-'))).toBe(true);
    expect(await setup.client().findCached(hubReference(`hf:${repository}:Q8_0`))).toBeUndefined();
  });

  it('that is here already asks nobody', async () => {
    await setup.download(`hf:${repository}:Q8_0`);
    const before = setup.server.requests.length;
    const offline = setup.client({ offline: true });
    expect(await inspect(`hf:${repository}:Q8_0`, offline)).toMatchObject({ isHere: true });
    expect(setup.server.requests).toHaveLength(before);
  });

  it('of the catalogue, or at a path, reads its file', async () => {
    expect(await inspect('demo')).toMatchObject({ name: 'demo', isHere: true });
    expect(await inspect(demoModelPath('demo-moe'))).toMatchObject({ name: 'demo-moe', isHere: true });
  });

  it('goes on after a cut, and gives up in one sentence', async () => {
    setup.server.fault({ on: 'storage', times: 1, cutAfterBytes: 1_000 });
    expect(await inspect(`hf:${repository}:Q8_0`)).toMatchObject({ isHere: false });
    setup.server.fault({ on: 'storage', noRanges: true });
    expect(await rejectionOf(inspect(`hf:${repository}:Q8_0`))).toMatchObject({
      code: 'download_failed',
      message: expect.stringContaining('gives no parts'),
    });
  });

  it('that is no model names what is wrong with it', async () => {
    setup.server.publish('acme/Broken-GGUF', { 'Broken-Q8_0.gguf': Buffer.alloc(10_000, 'x') });
    expect(await rejectionOf(inspect('hf:acme/Broken-GGUF:Q8_0'))).toMatchObject({ code: 'gguf_invalid' });
  });
});
