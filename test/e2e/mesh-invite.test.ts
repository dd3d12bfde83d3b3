// What an invite's terms are worth between real nodes: role, uses, time, and who may let in by it.
import { renderUnicodeCompact } from 'uqr';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import type { InviteView } from '../../src/console/mesh-port.ts';
import { clockAhead } from '../support/later-clock.ts';
import { MeshProcess } from '../support/mesh-process.ts';
import { leadingTo } from '../support/token-text.ts';

const secondMs = 1_000;
const minuteMs = 60 * secondMs;

async function invite(at: MeshProcess, ...terms: readonly string[]): Promise<InviteView> {
  const values = await at.json<InviteView>('invite', ...terms);
  expect(values).toHaveLength(1);
  return values[0] as InviteView;
}

/** A node that is gone when the test is. */
async function newcomer(name: string, environment: Record<string, string> = {}): Promise<MeshProcess> {
  const made = await MeshProcess.create(name);
  made.environment = environment;
  onTestFinished(() => made.discard());
  return made;
}

/** The node ends by itself: with this error, told to programs and to people, and with nothing of a mesh. */
async function isRefused(
  joining: MeshProcess,
  token: string,
  { exitCode, ...error }: { exitCode: 1 | 69; code: string; message: RegExp; hint: RegExp },
): Promise<void> {
  const ended = joining.launch('--json', '--join', token);
  expect(await ended.exited).toBe(exitCode);
  const said = ended.lines.at(-1);
  expect(said).toMatchObject({
    event: 'error',
    code: error.code,
    message: expect.stringMatching(error.message),
    hint: expect.stringMatching(error.hint),
  });
  expect(ended.stderr).toContain(`meshnode: ${said?.['message']}\n  ${said?.['hint']}\n`);
  expect(await joining.leftovers()).toEqual([]);
}

/** Waits until a node shows another one as joined, and returns in which role. */
function roleSeen(by: MeshProcess, member: MeshProcess): Promise<string> {
  return vi.waitFor(
    async () => {
      const row = (await by.table()).find(({ peerId }) => peerId === member.peerId);
      expect(row).toMatchObject({ state: 'joined' });
      return String(row?.role);
    },
    { timeout: 15_000, interval: 50 },
  );
}

describe('an invite', () => {
  let ada: MeshProcess;
  /** Another admin: whatever an admin may do, it may. */
  let bee: MeshProcess;

  beforeAll(async () => {
    ada = await MeshProcess.started('ada');
    const { token } = await invite(ada, '--role', 'admin');
    bee = await MeshProcess.started('bee', '--join', token);
    expect(await roleSeen(ada, bee)).toBe('admin');
  });
  afterAll(async () => {
    await Promise.all([ada, bee].map((member) => member?.discard()));
  });

  it.each([1, 2])(
    'of %i uses for a client lets in so many clients, and turns the next one away',
    async (uses) => {
      const made = await invite(ada, '--role', 'client', '--uses', String(uses));
      expect(made).toMatchObject({
        role: 'client',
        uses,
        strict: false,
        token: expect.stringMatching(/^mesh1/),
      });
      for (let use = 1; use <= uses; use++) {
        const cleo = await newcomer(`cleo-${use}-of-${uses}`);
        await cleo.start('--join', made.token);
        expect(await cleo.process.event('node')).toMatchObject({ role: 'client' });
        for (const member of [ada, bee]) {
          expect(await roleSeen(member, cleo)).toBe('client');
        }
        const rows = await ada.json('peers');
        expect(rows).toContainEqual(
          expect.objectContaining({ peerId: cleo.peerId, role: 'client', state: 'joined' }),
        );
      }
      await isRefused(await newcomer('dan'), made.token, {
        exitCode: 1,
        code: 'token_used_up',
        message: /invite has admitted all that it could/,
        hint: /new invite: `meshnode invite --uses N`/,
      });
    },
  );

  it('that is strict lets nobody in elsewhere, and in at the inviter', async () => {
    const addresses = [bee.address('tcp'), bee.address('quic')];
    const strict = await invite(ada, '--strict');
    expect(strict).toMatchObject({ strict: true, uses: 1, role: 'serve' });
    await isRefused(await newcomer('cat'), leadingTo(addresses, strict.token), {
      exitCode: 1,
      code: 'role_forbidden',
      message: /only the inviter itself can admit/,
      hint: /Ask an admin of the mesh for an invite/,
    });
    // The refusal was for the strictness: without it the same node lets in.
    const lenient = await invite(ada);
    const dog = await newcomer('dog');
    await dog.start('--join', leadingTo(addresses, lenient.token));
    expect(await roleSeen(bee, dog)).toBe('serve');

    const eel = await newcomer('eel');
    await eel.start('--join', strict.token);
    for (const member of [ada, bee]) {
      expect(await roleSeen(member, eel)).toBe('serve');
    }
  });

  it('says when it ends, and is for a day if nothing else is asked', async () => {
    const dayMs = 24 * 60 * minuteMs;
    for (const [terms, ttlMs] of [
      [['--ttl', '30m'], 30 * minuteMs],
      [['--ttl', '7d'], 7 * dayMs],
      [[], dayMs],
    ] as const) {
      const before = Date.now();
      const { expiresAt } = await invite(ada, ...terms);
      expect(Date.parse(expiresAt)).toBeGreaterThanOrEqual(before + ttlMs);
      expect(Date.parse(expiresAt)).toBeLessThanOrEqual(Date.now() + ttlMs);
    }
    const { exitCode, stderr } = await ada.run('invite', '--ttl', '91d');
    expect(exitCode).not.toBe(0);
    expect(stderr).toMatch(/^meshnode: .+\n {2}.+\n$/);
  });

  it('is shown as a QR code beside the token, if asked for', async () => {
    const plain = await ada.run('invite');
    expect(plain.stderr).not.toMatch(/[█▀▄]/);
    const { stdout, stderr, exitCode } = await ada.run('invite', '--qr');
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^mesh1[\w-]+\n$/);
    const block = stderr.split('\n').filter((line) => /^[█▀▄ ]+$/.test(line));
    expect(new Set(block.map((line) => line.length)).size).toBe(1);
    // Two rows of modules to a line.
    expect(Math.abs(block.length * 2 - (block[0]?.length ?? 0))).toBeLessThanOrEqual(1);
    expect(block.join('\n')).toBe(renderUnicodeCompact(stdout.trim()));
  });
});

describe('an invite of a second', () => {
  // An end counts only once it is past by more than two clocks may differ.
  const laterMs = 5 * minuteMs + 10 * secondMs;

  it('is refused by a newcomer, and by the inviter, when it is over', async () => {
    const ada = await newcomer('ada');
    await ada.start();
    const brief = await invite(ada, '--ttl', '1s');
    const long = await invite(ada, '--ttl', '1h');
    await ada.stop();
    // The port of before, which the tokens name.
    ada.environment = { ...clockAhead(laterMs), MESHNODE_LISTEN_PORT: portOf(ada.address('tcp')) };
    await ada.start();

    const expired = { exitCode: 1, code: 'token_expired', hint: /new invite: `meshnode invite`/ } as const;
    await isRefused(await newcomer('bee', clockAhead(laterMs)), brief.token, {
      ...expired,
      message: /^This invite has expired\.$/,
    });
    // By its own clock this one is in time.
    await isRefused(await newcomer('cat', clockAhead(laterMs - minuteMs)), brief.token, {
      ...expired,
      message: /expired before any member saw/,
    });
    // No more than time was the matter.
    const dog = await newcomer('dog', clockAhead(laterMs));
    await dog.start('--join', long.token);
    expect(await roleSeen(ada, dog)).toBe('serve');
  });
});

function portOf(address: string): string {
  return address.split('/')[4] ?? '';
}
