// What a node's owner sees of a mesh of three real nodes: their peers by the beats, the models of all, what is wrong; and
// what is told, for programs and for people, when a node falls silent or is killed.
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { PeerView } from '../../src/console/mesh-port.ts';
import type { NodeStatus } from '../../src/console/status.ts';
import type { CheckResult } from '../../src/node/check-result.ts';
import { systemClock } from '../../src/util/clock.ts';
import { beatLimits } from '../../src/util/limits/mesh.ts';
import { MeshProcess } from '../support/mesh-process.ts';

const patience = { timeout: 20_000, interval: 100 };
/** A verdict takes 4.2 s after the last word; the rest is for a busy machine. */
const verdictMs = beatLimits.silentMs + 5_000;

let ada: MeshProcess;
let bee: MeshProcess;
let cat: MeshProcess;

/** ada serves a model and is read by a program, bee by a person. */
beforeAll(async () => {
  ada = await MeshProcess.started('ada', '--model', 'demo', '--threads', '1');
  const token = String((await ada.process.event('invite'))['token']);
  bee = await MeshProcess.create('bee');
  bee.launch('--join', token);
  cat = await MeshProcess.started('cat', '--join', token);
  await vi.waitFor(async () => {
    expect((await cat.peers()).map(({ state }) => state)).toEqual(['joined', 'joined']);
    expect(linesOf(bee)).toEqual(expect.arrayContaining(['ada joined', 'cat joined']));
  }, patience);
});
afterAll(() => Promise.all([ada, bee, cat].map((node) => node?.discard())));

/** What a person reads of peers: names and what became of them. */
function linesOf({ process }: MeshProcess): string[] {
  return [...process.stderr.matchAll(/^Peer +(\S+) has (.+?)(?: \(.*)?$/gm)].map(
    ([, name, what]) => `${name} ${what}`,
  );
}

/** What a program reads of a peer, from event number `from` on. */
function statesOf({ process }: MeshProcess, name: string, from = 0): unknown[] {
  return process.lines
    .slice(from)
    .filter(({ event, name: named }) => event === 'peer' && named === name)
    .map(({ state }) => state);
}

/** Of the doctor, whatever the machine is missing. An engine that is not there is the quickest to check. */
async function findings(node: MeshProcess): Promise<CheckResult[]> {
  const { stdout } = await node.run('doctor', '--json', '--engine', 'llama-server');
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
}

describe('a mesh whose nodes are well', () => {
  it('shows each peer by its beats', async () => {
    const seen = async (): Promise<PeerView | undefined> =>
      (await cat.json<PeerView>('peers')).find(({ name }) => name === 'ada');
    await expect.poll(seen, patience).toMatchObject({
      ...{ state: 'joined', role: 'admin', models: [{ name: 'demo', state: 'ready' }] },
      ...{ rttMs: expect.any(Number), rttP95Ms: expect.any(Number), clockAheadMs: expect.any(Number) },
      load: [{ model: 'demo', inFlight: 0, queued: 0, slots: expect.any(Number) }],
    });
    const { heardMsAgo, loadAgeMs, rttMs, rttP95Ms, clockAheadMs } = (await seen()) ?? {};
    expect(heardMsAgo).toBeLessThan(beatLimits.silentMs);
    expect(loadAgeMs).toBeLessThan(beatLimits.silentMs);
    expect(rttP95Ms).toBeGreaterThanOrEqual(rttMs ?? Number.NaN);
    expect(Math.abs(clockAheadMs ?? Number.NaN)).toBeLessThan(2_000);
    const { stdout } = await cat.run('peers');
    expect(stdout).toMatch(/^ada +\S{8} +admin +joined +\S+ out +[\d.]+ ms +0\/\d+ +demo +\d/m);
  });

  it('shows the models of all of them, which each of them can ask', async () => {
    const [status] = await cat.json<NodeStatus>('status');
    expect(status).toMatchObject({
      models: [],
      mesh: { members: 3, suspect: 0, dead: 0, models: [{ name: 'demo', stage: 'ready', replicas: 1 }] },
    });
    expect(status?.mesh?.usableBytes).toBeGreaterThan(0);
    const { exitCode, stdout } = await cat.run('run', 'demo', 'Hello', '--max-tokens', '8');
    expect([exitCode, stdout.trim() === '']).toEqual([0, false]);
    expect(await cat.json<NodeStatus>('status')).toMatchObject([{ models: [] }]);
  });

  it('has nothing to advise', async () => {
    // Nodes that have just started are slow to answer, as if they were far away.
    const advice = async (): Promise<string[]> =>
      (await findings(cat))
        .filter(({ check }) => meshChecks.includes(check))
        .map(({ check, outcome }) => `${check} ${outcome}`);
    await expect.poll(advice, patience).toEqual(meshChecks.map((check) => `${check} ok`));
  });
});

const meshChecks = ['mesh', 'peers', 'links', 'clocks', 'versions', 'certificates', 'distances', 'models'];

describe('a node that stands still for a moment', () => {
  it('is suspect, then joined again, and each is told once', async () => {
    const from = ada.process.lines.length;
    cat.process.child.kill('SIGSTOP');
    try {
      await ada.process.line((line) => isOf(line, 'suspect') && ada.process.lines.indexOf(line) >= from);
    } finally {
      cat.process.child.kill('SIGCONT');
    }
    await expect.poll(() => statesOf(ada, 'cat', from).at(-1), patience).toBe('joined');
    expect(statesOf(ada, 'cat', from)).toEqual(['suspect', 'joined']);
  });
});

function isOf({ event, name, state }: Record<string, unknown>, wanted: PeerView['state']): boolean {
  return event === 'peer' && name === 'cat' && state === wanted;
}

describe('a node that is killed', () => {
  it('is suspect and dead within seconds, with its name, for programs and for people', async () => {
    const from = ada.process.lines.length;
    const killedMs = systemClock.monotonicMs();
    await cat.process.stop('SIGKILL');
    await expect.poll(() => statesOf(ada, 'cat', from), patience).toEqual(['suspect', 'dead']);
    expect(systemClock.monotonicMs() - killedMs).toBeLessThan(verdictMs);
    const last = ada.process.lines.findLast((line) => isOf(line, 'dead'));
    expect(last).toMatchObject({ peerId: cat.peerId, name: 'cat' });
    await expect.poll(() => linesOf(bee).slice(-2), patience).toEqual(['cat fallen silent', 'cat gone away']);
  });

  it('is missed by the commands, which say why it is not reached', async () => {
    const { stdout } = await ada.run('status');
    expect(stdout).toMatch(/^Mesh .* 2 members alive, 1 dead/m);
    const failure = async () => (await ada.peers()).find(({ name }) => name === 'cat')?.contactFailure;
    await expect.poll(failure, patience).toMatchObject({ code: 'peer_unreachable' });
    const results = await findings(ada);
    expect(results).toContainEqual({
      ...{ check: 'peers', outcome: 'warning', peerId: cat.peerId },
      found: expect.stringMatching(/^cat \(\w+\) is gone .* no answer at \/ip4\/127\.0\.0\.1\//),
      hint: expect.stringContaining('meshnode revoke'),
    });
  });
});
