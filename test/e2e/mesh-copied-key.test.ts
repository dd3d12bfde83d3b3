// A data folder that was copied, key and all, and is used twice: one of the two processes must end and say why, and
// the mesh goes on with the other as the member that it knows.
import { it } from 'vitest';
import type { PeerView } from '../../src/console/mesh-port.ts';
import { MeshProcess, type Path } from '../support/mesh-process.ts';

/** Three rounds of announcements at their slowest, 24 s each, and what a busy machine adds. */
const foundOutMs = 90_000;

/** The peer of a member's table, as it is there now. */
async function rowOf(peer: string, at: MeshProcess): Promise<PeerView | undefined> {
  return (await at.peers()).find(({ peerId }) => peerId === peer);
}

// Most of it is waiting: side by side it takes half the time.
it.concurrent.for<Path>(['quic', 'tcp'])(
  'of two processes with one key one ends with a sentence, and the other stays a member, over %s',
  { timeout: foundOutMs + 90_000 },
  async (path, { expect, onTestFinished }) => {
    const nodes: MeshProcess[] = [];
    onTestFinished(async () => {
      await Promise.all(nodes.map((node) => node.discard()));
    });
    const flags = ['--transport', path];
    const started = async (name: string, ...more: readonly string[]): Promise<MeshProcess> => {
      const node = await MeshProcess.started(name, ...flags, ...more);
      nodes.push(node);
      return node;
    };
    const ada = await started('ada');
    const token = String((await ada.process.event('invite'))['token']);
    const bee = await started('bee', '--join', token);
    const original = await started('cat', '--join', token);
    const allMet = () => Promise.all([ada.shows([bee, original]), bee.shows([ada, original])]);
    await allMet();
    // At rest: what a folder in use holds may be half written.
    await original.stop();
    const copy = await MeshProcess.copied(original, 'cow');
    nodes.push(copy);

    await original.start(...flags);
    await allMet();
    copy.launch('--json', '--log-level', 'warn', ...flags);
    const both = [original, copy];
    // Which of them is a matter of who says what first.
    const running = () => both.filter(({ isAlive }) => isAlive).map(({ name }) => name);
    await expect.poll(running, { timeout: foundOutMs, interval: 50 }).toHaveLength(1);
    const [ended, survivor] = original.isAlive ? [copy, original] : [original, copy];
    expect(await ended.process.exited).toBe(1);
    const said = ended.process.lines.at(-1);
    expect(said).toMatchObject({
      event: 'error',
      code: 'key_conflict',
      message: expect.stringMatching(/^Another process .* the key of this node\.$/),
      hint: expect.stringMatching(/stop one, .*never copy a data folder/),
    });
    expect(ended.process.stderr).toContain(`meshnode: ${said?.['message']}\n  ${said?.['hint']}\n`);

    // The others have the survivor's own record, and reach it.
    const { peerId, name, addresses } = await survivor.process.event('node');
    expect(peerId).toBe(original.peerId);
    for (const member of [ada, bee]) {
      const row = async () => {
        const shown = await rowOf(original.peerId, member);
        const dialled = shown?.addresses.map((address) => `${address}/p2p/${shown.peerId}`);
        return { ...shown, addresses: dialled };
      };
      await expect
        .poll(row, { timeout: 30_000, interval: 100 })
        .toMatchObject({ name, state: 'joined', addresses, rttMs: expect.any(Number) });
    }
    const seen = async () =>
      (await survivor.json<PeerView>('peers')).map((view) => `${view.peerId} ${view.state}`).sort();
    const others = [ada, bee].map((member) => `${member.peerId} joined`).sort();
    await expect.poll(seen, { timeout: 10_000 }).toEqual(others);
    expect(survivor.isAlive).toBe(true);
  },
);
