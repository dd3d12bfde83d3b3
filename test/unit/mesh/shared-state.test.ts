import { expect, it } from 'vitest';
import { SharedState } from '../../../src/mesh/shared-state.ts';
import type { Envelope } from '../../../src/trust/envelope.ts';
import { keyText } from '../../../src/trust/keys.ts';
import { madeMs, minuteMs, TestMesh } from '../../support/test-mesh.ts';

const mesh = new TestMesh();
const wallMs = madeMs + 60 * minuteMs;

/** What a node of its own holds that took these. */
function stateOf(envelopes: readonly Envelope[]): { root: string; size: number; held: Envelope[] } {
  const trust = mesh.trust();
  const state = new SharedState({ self: mesh.founder.key.peerId, trust, check: mesh.check });
  for (const { bytes } of envelopes) {
    state.take(bytes, wallMs);
  }
  return { root: keyText(state.items.digest.root()), size: state.items.size, held: trust.items() };
}

it('what is passed on is what is held, also where one use takes the place of another', () => {
  const invite = mesh.invite({ maxUses: 1 });
  const uses = Array.from({ length: 80 }, (_, index) =>
    mesh.use(mesh.redeem(invite, `taker ${index}`), mesh.founder, madeMs + (1 + index) * 1000 + minuteMs),
  );
  const revocation = mesh.revocation(mesh.redeem(mesh.invite(), 'out'), { atMs: wallMs });
  const forward = stateOf([...uses, revocation]);
  const backward = stateOf([revocation, ...uses].toReversed());
  expect(forward.size).toBeLessThan(uses.length);
  expect(forward.size).toBe(forward.held.length);
  expect(backward.root).toBe(forward.root);
  expect(stateOf(forward.held).root).toBe(forward.root);
});
