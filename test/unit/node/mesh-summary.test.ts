// The mesh in a few numbers.
import { describe, expect, it } from 'vitest';
import type { ListedModel } from '../../../src/dispatch/model-directory.ts';
import type { MemberView } from '../../../src/mesh/membership.ts';
import { meshSummary } from '../../../src/node/mesh-summary.ts';
import { PeerWatch } from '../../../src/node/peer-watch.ts';
import { nodeLimits } from '../../../src/util/limits/node.ts';
import { memberView } from '../../support/member-view.ts';

const watch = new PeerWatch({ self: 'me', members: () => [], tell: () => {} });
const summaryOf = (members: readonly MemberView[], models: readonly ListedModel[] = []) =>
  meshSummary({ members, stateOf: (member) => watch.stateOf(member), models, wallMs: 0 });

const device = (kind: string, usableBytes: number) => ({
  ...{ kind, name: kind, usableBytes, totalBytes: usableBytes },
  bandwidthBytes: undefined,
});

describe('a mesh at a glance', () => {
  it('counts who lives, who is not heard, and who is gone, but not who has left', () => {
    const members = [
      memberView('me'),
      memberView('bee'),
      memberView('cat', {}, { isSilent: true, isUp: false }),
      memberView('dog', {}, { status: 'dead', isUp: false }),
      memberView('eel', {}, { status: 'expired', isUp: false }),
      memberView('fox', {}, { status: 'left', isUp: false }),
    ];
    expect(summaryOf(members)).toMatchObject({ members: 3, suspect: 1, dead: 2 });
  });

  it('adds up the memory of those that live, what a Mac shares between its devices once', () => {
    const members = [
      memberView('me', { devices: [device('cuda', 24), device('cpu', 60)] }),
      memberView('mac', { devices: [device('metal', 48), device('cpu', 50)] }),
      memberView('gone', { devices: [device('cpu', 1_000)] }, { status: 'dead' }),
    ];
    expect(summaryOf(members).usableBytes).toBe(24 + 60 + 50);
  });

  it('shows the models of dispatch', () => {
    const capabilities = {
      ...{ contextTokens: 4096, slots: 2, extraFields: new Set<string>() },
      ...{ kinds: new Set(['chat'] as const), features: new Set<never>() },
    };
    const status = { name: 'demo', stage: 'ready', createdMs: 0, sizeBytes: 9, capabilities } as const;
    expect(summaryOf([], [{ ...status, replicas: 2 }]).models).toEqual([
      { name: 'demo', stage: 'ready', replicas: 2, sizeBytes: 9, contextTokens: 4096, kinds: ['chat'] },
    ]);
  });

  it('names what is asked for and served by nobody, the most wanted first', () => {
    const demand = [
      { model: 'demo', requests: 3 },
      { model: 'none', requests: 1 },
      { model: 'other', requests: 2 },
      { model: 'long ago', requests: 0.1 },
    ];
    const demo: ListedModel = { name: 'demo', stage: 'ready', createdMs: 0, replicas: 1 };
    const [first, second, ...rest] = summaryOf([memberView('me', { demand })], [demo]).wanted;
    expect([first?.model, second?.model, rest]).toEqual(['other', 'none', []]);
  });

  it('names so many of these and no more', () => {
    const members = Array.from({ length: 2 * nodeLimits.wantedModels }, (_, index) =>
      memberView(`peer ${index}`, { demand: [{ model: `model ${index}`, requests: 1 }] }),
    );
    expect(summaryOf(members).wanted).toHaveLength(nodeLimits.wantedModels);
  });
});
