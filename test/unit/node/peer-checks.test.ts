// Each check of the mesh is made to find its fault once, and is quiet when all is well.
import { describe, expect, it } from 'vitest';
import type { PeerView } from '../../../src/console/mesh-port.ts';
import {
  checkCertificates,
  checkClocks,
  checkDemand,
  checkDistances,
  checkLinks,
  checkMesh,
  checkPeers,
  checkStanding,
  checkVersions,
  checkWeights,
  type MeshCheck,
  type MeshSnapshot,
} from '../../../src/node/peer-checks.ts';
import { beeView, meshStatus } from '../../support/mesh-double.ts';

const dayMs = 24 * 60 * 60_000;
const well: MeshSnapshot = {
  node: { peerId: 'me', version: '1.0.0', models: [] },
  mesh: meshStatus,
  peers: [beeView],
  wallMs: Date.UTC(2026, 0, 2),
};
const withPeer = (fields: Partial<PeerView>): MeshSnapshot => ({
  ...well,
  peers: [{ ...beeView, ...fields }],
});
const withMesh = (fields: Partial<MeshSnapshot['mesh']>): MeshSnapshot => ({
  ...well,
  mesh: { ...meshStatus, ...fields },
});
const attempts = [{ address: '/ip4/192.0.2.1/tcp/1', reason: 'connect ECONNREFUSED.' }];
const contactFailure = { code: 'peer_unreachable', message: 'Not reached.', agoMs: 4_000, attempts };

it('all is well: every check says so in one sentence, and has nothing to advise', () => {
  const results = checkMesh(well);
  expect(results.map(({ check }) => check)).toEqual([
    ...['mesh', 'peers', 'links', 'clocks', 'versions', 'certificates', 'distances', 'models'],
  ]);
  expect(results.filter(({ outcome, hint }) => outcome !== 'ok' || hint !== undefined)).toEqual([]);
});

it('all is well with a node that is alone in its mesh', () => {
  const results = checkMesh({ ...withMesh({ members: 1, models: [] }), peers: [] });
  expect(results.filter(({ outcome }) => outcome !== 'ok')).toEqual([]);
});

interface Fault {
  readonly what: string;
  readonly check: MeshCheck;
  readonly snapshot: MeshSnapshot;
  readonly outcome: 'warning' | 'failed';
  readonly found: RegExp;
  readonly hint: RegExp;
}

const expelled = { state: 'expelled', error: { code: 'certificate_revoked', message: 'Put out.' } } as const;
const digests = ['a'.repeat(64), 'b'.repeat(64)] as const;
const relayed = [
  { path: 'tcp', direction: 'outbound', remoteAddress: '/ip4/192.0.2.9/tcp/1/p2p-circuit' },
] as const;

const faults: readonly Fault[] = [
  {
    ...{ what: 'a node that was put out', check: checkStanding, snapshot: withMesh(expelled) },
    ...{ outcome: 'failed', found: /^Put out\.$/, hint: /new invite/ },
  },
  {
    ...{ what: 'a node that has not joined', check: checkStanding, snapshot: withMesh({ state: 'joining' }) },
    ...{ outcome: 'warning', found: /not joined/, hint: /addresses/ },
  },
  {
    what: 'a peer that is not heard',
    check: checkPeers,
    snapshot: withPeer({ state: 'suspect', heardMsAgo: 5_000, paths: [], contactFailure }),
    outcome: 'warning',
    found:
      /^bee \(o3DLz2KA\) has not been heard for 5 s.* 4 s ago: no answer at \/ip4\/192.* \(connect ECONNREFUSED\)\.$/,
    hint: /runs/,
  },
  {
    ...{ what: 'a peer that is gone', check: checkPeers, snapshot: withPeer({ state: 'dead', paths: [] }) },
    ...{ outcome: 'warning', found: /is gone/, hint: /meshnode revoke o3DLz2KA/ },
  },
  {
    what: 'a peer that cannot be dialled',
    check: checkLinks,
    snapshot: withPeer({ paths: [], contactFailure }),
    ...{ outcome: 'warning', found: /no link to bee .*ECONNREFUSED/, hint: /firewall/ },
  },
  {
    what: 'a peer that lets nobody in',
    check: checkLinks,
    snapshot: withPeer({
      paths: [],
      contactFailure: { ...contactFailure, attempts: [], code: 'clock_skewed', message: 'Its clock.' },
    }),
    ...{ outcome: 'warning', found: /4 s ago: Its clock\.$/, hint: /timedatectl/ },
  },
  {
    ...{ what: 'no link at all', check: checkLinks, snapshot: withPeer({ paths: [] }) },
    ...{ outcome: 'warning', found: /linked to no peer/, hint: /online/ },
  },
  {
    ...{ what: 'a peer behind a relay', check: checkLinks, snapshot: withPeer({ paths: relayed }) },
    ...{ outcome: 'warning', found: /through a relay only \(tcp\)/, hint: /--announce/ },
  },
  {
    what: 'a clock that is off',
    check: checkClocks,
    snapshot: withPeer({ clockAheadMs: 42_000, clockAgeMs: 3_600_000 }),
    outcome: 'warning',
    found: /42 s ahead of this one, as of its greeting 60 min ago, exact to about a round trip/,
    hint: /timedatectl/,
  },
  {
    what: 'a clock that is far off',
    check: checkClocks,
    snapshot: withPeer({ clockAheadMs: -301_000 }),
    ...{ outcome: 'failed', found: /5 min behind/, hint: /timedatectl/ },
  },
  {
    what: 'a peer that is much older',
    check: checkVersions,
    snapshot: {
      ...withPeer({ version: '1.0.9', features: ['beats'] }),
      node: { ...well.node, version: '1.2.0' },
    },
    ...{
      outcome: 'warning',
      found: /runs 1\.0\.9 and has beats, this node 1\.2\.0: it is/,
      hint: /that node/,
    },
  },
  {
    what: 'a node that is much older than its peers',
    check: checkVersions,
    snapshot: withPeer({ version: '2.0.0' }),
    ...{ outcome: 'warning', found: /this node is much older/, hint: /Update this node/ },
  },
  {
    what: 'a membership that ends soon',
    check: checkCertificates,
    snapshot: { ...well, peers: [], wallMs: Date.UTC(2026, 3, 1) - 13 * dayMs },
    ...{ outcome: 'warning', found: /^This node: .* ends at 2026-04-01/, hint: /admin/ },
  },
  {
    what: 'a membership of a peer that has ended',
    check: checkCertificates,
    snapshot: withPeer({ certificateExpiresAt: '2026-01-01T00:00:00.000Z' }),
    ...{ outcome: 'failed', found: /^bee .* has ended/, hint: /invite/ },
  },
  {
    ...{ what: 'a peer that is far away', check: checkDistances, snapshot: withPeer({ rttMs: 81 }) },
    ...{ outcome: 'warning', found: /81 ms away: too far for splitting/, hint: /whole requests/ },
  },
  {
    what: 'two models of one name',
    check: checkWeights,
    snapshot: {
      ...withMesh({
        models: ['demo', 'demo@bbbbbbbb', 'demonic'].map((name) => ({
          ...({ name, stage: 'ready', replicas: 1, kinds: [] } as const),
        })),
      }),
      peers: digests.map((digest) => ({ ...beeView, models: [{ name: 'demo', digest }] })),
    },
    outcome: 'warning',
    found: /^'demo' means 2 different models: demo, demo@bbbbbbbb\.$/,
    hint: /full name/,
  },
  {
    what: 'a model that nobody serves',
    check: checkDemand,
    snapshot: withMesh({ wanted: [{ model: 'qwen', requests: 2 }] }),
    ...{ outcome: 'warning', found: /'qwen' was asked for/, hint: /--model qwen/ },
  },
];

describe.each(faults)('$what', ({ check, snapshot, outcome, found, hint }) => {
  it('is found, with what to do', () => {
    expect(check(snapshot)).toMatchObject([
      { outcome, found: expect.stringMatching(found), hint: expect.stringMatching(hint) },
    ]);
  });

  it('is not there when all is well', () => {
    expect(check(well).filter((result) => result.outcome !== 'ok')).toEqual([]);
  });
});

it('a finding about a peer names it for programs', () => {
  expect(checkDistances(withPeer({ rttMs: 500 }))).toMatchObject([{ peerId: beeView.peerId }]);
});

it('a clock that differs from all others is told to be the wrong one', () => {
  const skewed = { ...beeView, clockAheadMs: 60_000 };
  const results = checkClocks({ ...well, peers: [skewed, { ...skewed, peerId: 'other' }] });
  expect(results).toHaveLength(2);
  expect(results[0]?.hint).toContain("this machine's clock is the wrong one");
  const [alone] = checkClocks({ ...well, peers: [skewed, beeView] });
  expect(alone?.hint).not.toContain("this machine's");
});

it('who has left, and whose version says nothing, is no finding', () => {
  const left = {
    ...beeView,
    state: 'left',
    paths: [],
    version: '',
    certificateExpiresAt: '2020-01-01',
  } as const;
  const results = checkMesh({ ...well, peers: [beeView, left, { ...beeView, version: 'dev' }] });
  expect(results.filter(({ outcome }) => outcome !== 'ok')).toEqual([]);
});
