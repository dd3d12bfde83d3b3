// A peer as the management API shows it.
import { describe, expect, it } from 'vitest';
import type { Vitals } from '../../../src/mesh/liveness.ts';
import { type PeerNews, peerView } from '../../../src/node/peer-view.ts';
import { memberView, recordModel } from '../../support/member-view.ts';

const nowMs = 100_000;
const nothing: PeerNews = {
  ...({ name: 'bee', state: 'joined', links: [], nowMs } as const),
  ...{ vitals: undefined, failure: undefined, told: undefined },
};
const busy = { model: 'demo', inFlight: 2, queued: 1, slots: 4, tokensPerSecond: 20 };
const vitals: Vitals = {
  isSilent: false,
  rtt: { p50Ms: 1.23456, p95Ms: 4.56789 },
  load: { loads: [busy], atMs: nowMs - 700 },
  heardMs: nowMs - 300,
  awaited: { sinceMs: nowMs - 300, lateMs: 0 },
};

describe('a peer that beats', () => {
  it('is shown with what its beats say, and how old that is', () => {
    const member = memberView('p', { models: [recordModel('demo')] });
    expect(peerView(member, { ...nothing, vitals })).toMatchObject({
      ...{ rttMs: 1.23, rttP95Ms: 4.57, heardMsAgo: 300, loadAgeMs: 700 },
      load: [busy],
    });
  });

  it('has idle models beside those that its beats name, but none that cannot be asked yet', () => {
    const models = [
      recordModel('demo'),
      recordModel('idle', { slots: 8 }),
      recordModel('attached', { slots: undefined }),
      recordModel('coming', { state: 'loading' }),
    ];
    expect(peerView(memberView('p', { models }), { ...nothing, vitals }).load).toEqual([
      busy,
      { model: 'idle', inFlight: 0, queued: 0, slots: 8 },
      { model: 'attached', inFlight: 0, queued: 0 },
    ]);
  });

  it('has no slots that it does not know', () => {
    const load = { loads: [{ ...busy, slots: 0 }], atMs: nowMs };
    const view = peerView(memberView('p'), { ...nothing, vitals: { ...vitals, load } });
    expect(view.load?.[0]).not.toHaveProperty('slots');
  });
});

describe('a peer that is none of the neighbours', () => {
  it('is shown by its record alone', () => {
    const view = peerView(memberView('p', { version: '1.2.3', rpcBuild: 'b77' }), nothing);
    expect(view).toMatchObject({ name: 'bee', version: '1.2.3', rpcBuild: 'b77', paths: [] });
    for (const field of ['rttMs', 'heardMsAgo', 'load', 'loadAgeMs', 'contactFailure', 'clockAheadMs']) {
      expect(view).not.toHaveProperty(field);
    }
  });
});

it('what came of contacts with a peer is shown with its age, and when its membership ends', () => {
  const attempts = [{ address: '/ip4/192.0.2.1/tcp/1', reason: 'refused' }];
  const failure = { code: 'peer_unreachable', message: 'No.', atMs: nowMs - 5_000, attempts };
  const told = { aheadMs: -41.6, atMs: nowMs - 9_000 };
  expect(peerView(memberView('p'), { ...nothing, failure, told })).toMatchObject({
    contactFailure: { code: 'peer_unreachable', message: 'No.', agoMs: 5_000, attempts },
    ...{ clockAheadMs: -42, clockAgeMs: 9_000 },
    certificateExpiresAt: '2026-04-01T00:00:00.000Z',
  });
});
