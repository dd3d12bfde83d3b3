import { describe, expect, it } from 'vitest';
import type { MemberView } from '../../../src/mesh/membership.ts';
import { type PeerChange, PeerWatch } from '../../../src/node/peer-watch.ts';
import { memberView } from '../../support/member-view.ts';

const viewOf = (peerId: string, fields: Partial<MemberView> = {}): MemberView =>
  memberView(peerId, {}, fields);

function watched(): { watch: PeerWatch; told: PeerChange[]; show: (...views: MemberView[]) => void } {
  const told: PeerChange[] = [];
  let members: readonly MemberView[] = [];
  const watch = new PeerWatch({ self: 'me', members: () => members, tell: (change) => told.push(change) });
  const show = (...views: MemberView[]): void => {
    members = views;
    watch.hear({ type: 'changed', peers: ['me', 'ada', ...views.map(({ record }) => record.peerId)] });
  };
  return { watch, told, show };
}

describe('what is told of a peer', () => {
  it('is that it joined, once, with its name', () => {
    const { told, show } = watched();
    show(viewOf('ada'));
    show(viewOf('ada'));
    expect(told).toEqual([{ peerId: 'ada', name: 'name of ada', state: 'joined', isUp: true }]);
  });

  it('is how it goes: silent, back, silent, dead', () => {
    const { told, show } = watched();
    show(viewOf('ada'));
    show(viewOf('ada', { isUp: false, isSilent: true }));
    show(viewOf('ada'));
    show(viewOf('ada', { isUp: false, isSilent: true }));
    show(viewOf('ada', { isUp: false, isSilent: true, status: 'dead' }));
    expect(told.map(({ state }) => state)).toEqual(['joined', 'suspect', 'joined', 'suspect', 'dead']);
  });

  it('is that it left, by its own word or because it was put out', () => {
    const { told, show } = watched();
    show(viewOf('ada'), viewOf('bee'));
    show(viewOf('ada', { status: 'left' }), viewOf('bee'));
    expect(told.at(-1)).toMatchObject({ peerId: 'ada', state: 'left' });
    const { told: others, show: showOthers } = watched();
    showOthers(viewOf('ada'));
    showOthers();
    expect(others.map(({ state, name }) => [state, name])).toEqual([
      ['joined', 'name of ada'],
      ['left', 'name of ada'],
    ]);
  });

  it('is nothing of this node itself, and nothing of who was gone before', () => {
    const { told, show } = watched();
    show(viewOf('me'), viewOf('ada', { status: 'dead', isUp: false }));
    expect(told).toEqual([]);
  });
});
