// What `meshnode doctor` looks at in the mesh of a running node: each check is a pure function of what the management
// API says of the node and its peers. It tells what is wrong, one sentence each, or in one that all is well.
import type { MeshStatus, PeerView } from '../console/mesh-port.ts';
import type { NodeStatus } from '../console/status.ts';
import { trustLimits } from '../util/limits/trust.ts';
import { formatSize } from '../util/size.ts';
import { type CheckResult, failed, ok, warning } from './check-result.ts';

/** What the checks look at. */
export interface MeshSnapshot {
  readonly node: Pick<NodeStatus, 'peerId' | 'version' | 'models'>;
  readonly mesh: MeshStatus;
  readonly peers: readonly PeerView[];
  /** Unix time in milliseconds. */
  readonly wallMs: number;
}

export type MeshCheck = (snapshot: MeshSnapshot) => CheckResult[];

/** Clocks that differ by this much are worth setting; from trustLimits.clockToleranceMs on nodes do not talk. */
const notedSkewMs = 30_000;
/** A token of a split model crosses the link several times: beyond this it comes slower than it is read. */
const farMs = 80;
/** A node understands those that are one minor version older or newer; the next release may end that. */
const oldMinors = 2;
/** Addresses of a failed dial that one sentence names. */
const shownAttempts = 3;

/** All checks of a mesh, in the order in which their faults explain each other. */
export function checkMesh(snapshot: MeshSnapshot): CheckResult[] {
  return meshChecks.flatMap((check) => check(snapshot));
}

/** Whether this node is a member at all. */
export const checkStanding: MeshCheck = ({ mesh }) => {
  const { meshId, role, state, error, members, usableBytes } = mesh;
  if (state === 'expelled') {
    const why = error?.message ?? 'This node is out of its mesh.';
    return [failed('mesh', why, 'Join again with a new invite: `meshnode leave`, then `--join TOKEN`.')];
  }
  if (state === 'joining') {
    const hint =
      'Wait a few seconds; if it stays so, the addresses of the invite cannot be reached from here.';
    return [warning('mesh', 'This node has not joined its mesh yet.', hint)];
  }
  const memory = `${formatSize(usableBytes)} usable`;
  return [ok('mesh', `${role} of the mesh ${meshId.slice(0, 8)}: ${plural(members, 'member')}, ${memory}.`)];
};

/** Whether the peers live. Who has left is missed by nobody. */
export const checkPeers: MeshCheck = ({ peers }) =>
  summedUp('peers', allHeard(peers.filter(isJoined).length), peers.flatMap(lifeOf));

/** Whether this node has a direct way to whom it wants one; in a large mesh not everybody is linked. */
export const checkLinks: MeshCheck = ({ peers }) => {
  const joined = peers.filter(isJoined);
  const linked = joined.filter(({ paths }) => paths.length > 0);
  const findings = joined.flatMap(wayTo);
  if (joined.length > 0 && linked.length === 0 && findings.length === 0) {
    const hint =
      'If it stays so, look whether this machine is online and its firewall lets meshnode through.';
    findings.push(warning('links', 'This node is linked to no peer.', hint));
  }
  const kinds = Object.entries(Object.groupBy(linked, ({ paths }) => pathNames(paths)));
  const by = kinds.map(([kind, via]) => `${via?.length} by ${kind}`).join(', ');
  const idle = joined.length === linked.length ? '' : ` ${joined.length - linked.length} are not needed.`;
  return summedUp('links', `${plural(linked.length, 'peer')} linked${by && `: ${by}`}.${idle}`, findings);
};

/** Whether the clocks agree: what is signed is dated. */
export const checkClocks: MeshCheck = ({ peers }) => {
  const known = peers.filter(isHere).filter(({ clockAheadMs }) => clockAheadMs !== undefined);
  const most = Math.max(0, ...known.map(({ clockAheadMs = 0 }) => Math.abs(clockAheadMs)));
  const all = `The clocks of ${plural(known.length, 'peer')} are within ${seconds(most)} of this one.`;
  return summedUp(
    'clocks',
    known.length === 0 ? 'No peer has told its time yet.' : all,
    known.flatMap((peer) => clockOf(peer, known)),
  );
};

/** Whether the versions are near enough to understand each other. */
export const checkVersions: MeshCheck = ({ node, peers }) => {
  const here = peers.filter(isHere);
  const findings = here.flatMap((peer) => versionOf(peer, node.version));
  const versions = [...new Set([node.version, ...here.map(({ version }) => version || 'unknown')])];
  const features = [...new Set(here.flatMap((peer) => peer.features))];
  const builds = [...new Set(here.flatMap(({ rpcBuild }) => rpcBuild ?? []))];
  const parts = [
    `Versions in the mesh: ${versions.join(', ')}`,
    ...(features.length === 0 ? [] : [`features: ${features.join(', ')}`]),
    ...(builds.length === 0 ? [] : [`RPC builds: ${builds.join(', ')}`]),
  ];
  return summedUp('versions', `${parts.join('; ')}.`, findings);
};

/** Whether memberships end soon: admins that are online renew them long before. */
export const checkCertificates: MeshCheck = ({ mesh, peers, wallMs }) => {
  const own = endOf('This node', mesh.certificateExpiresAt, wallMs);
  const others = peers
    .filter(isHere)
    .flatMap((peer) => about(peer, endOf(nameOf(peer), peer.certificateExpiresAt, wallMs)));
  return summedUp('certificates', `The membership of this node ends in ${days(mesh, wallMs)} days.`, [
    ...own,
    ...others,
  ]);
};

/** Whether the peers are near enough to run one model together. */
export const checkDistances: MeshCheck = ({ peers }) => {
  const measured = peers.filter(isJoined).filter(({ rttMs }) => rttMs !== undefined);
  const farthest = Math.max(0, ...measured.map(({ rttMs = 0 }) => rttMs));
  const findings = measured
    .filter(({ rttMs = 0 }) => rttMs > farMs)
    .flatMap((peer) => {
      const found = `${nameOf(peer)} is ${peer.rttMs?.toFixed(0)} ms away: too far for splitting a model with it.`;
      const hint = 'It can still answer whole requests. To split models choose nodes of one network.';
      return about(peer, [warning('distances', found, hint)]);
    });
  const all = `${plural(measured.length, 'peer')} within ${farthest.toFixed(1)} ms.`;
  return summedUp('distances', measured.length === 0 ? 'No peer has been measured yet.' : all, findings);
};

/** Whether one name means the same weights everywhere: else clients get now these and now those. */
export const checkWeights: MeshCheck = ({ node, mesh, peers }) => {
  const digests = new Map<string, Set<string>>();
  for (const { name, digest } of [...node.models, ...peers.filter(isHere).flatMap(({ models }) => models)]) {
    if (digest !== undefined && digest !== 'pending') {
      digests.set(name, (digests.get(name) ?? new Set()).add(digest));
    }
  }
  const findings = [...digests]
    .filter(([, different]) => different.size > 1)
    .map(([name, different]) => {
      const found = `'${name}' means ${different.size} different models: ${namesLike(name, mesh)}.`;
      const hint = 'Ask for the one that is meant by its full name, or serve the same file everywhere.';
      return warning('models', found, hint);
    });
  return summedUp('models', `${plural(mesh.models.length, 'model')} to ask for.`, findings);
};

/** Whether what is asked for is served. */
export const checkDemand: MeshCheck = ({ mesh }) =>
  mesh.wanted.map(({ model }) =>
    warning(
      'demand',
      `'${model}' was asked for of late, and no node serves it.`,
      `Serve it on a node that has the memory, e.g. \`meshnode --model ${model}\`; or correct the name at the client.`,
    ),
  );

const meshChecks: readonly MeshCheck[] = [
  checkStanding,
  checkPeers,
  checkLinks,
  checkClocks,
  checkVersions,
  checkCertificates,
  checkDistances,
  checkWeights,
  checkDemand,
];

function summedUp(check: string, allWell: string, findings: CheckResult[]): CheckResult[] {
  return findings.length > 0 ? findings : [ok(check, allWell)];
}

function about({ peerId }: PeerView, findings: readonly CheckResult[]): CheckResult[] {
  return findings.map((finding) => ({ ...finding, peerId }));
}

function isJoined({ state }: PeerView): boolean {
  return state === 'joined';
}

/** Not known to be gone. */
function isHere({ state }: PeerView): boolean {
  return state === 'joined' || state === 'suspect';
}

function lifeOf(peer: PeerView): CheckResult[] {
  const { state, heardMsAgo } = peer;
  if (state === 'suspect') {
    const since = heardMsAgo === undefined ? '' : ` for ${seconds(heardMsAgo)}`;
    const found = `${nameOf(peer)} has not been heard${since}, and gets no requests.${whyNoContact(peer)}`;
    return about(peer, [warning('peers', found, 'Look whether its node runs and its machine is online.')]);
  }
  if (state === 'dead') {
    const found = `${nameOf(peer)} is gone and has not left the mesh.${whyNoContact(peer)}`;
    const hint = `Start it again; if it does not come back: \`meshnode revoke ${shortId(peer)}\`.`;
    return about(peer, [warning('peers', found, hint)]);
  }
  return [];
}

function wayTo(peer: PeerView): CheckResult[] {
  const { paths, contactFailure } = peer;
  if (paths.length === 0 && contactFailure !== undefined) {
    const found = `There is no link to ${nameOf(peer)}.${whyNoContact(peer)}`;
    return about(peer, [warning('links', found, hintFor(contactFailure.code))]);
  }
  if (paths.length > 0 && paths.every(({ remoteAddress }) => remoteAddress.includes('/p2p-circuit'))) {
    const found = `${nameOf(peer)} is reached through a relay only (${pathNames(paths)}).${whyNoContact(peer)}`;
    const hint = 'Open its port in the firewall, or name an address that others reach with --announce.';
    return about(peer, [warning('links', found, hint)]);
  }
  return [];
}

/** A sentence with a space before it; empty if nothing is known. */
function whyNoContact({ contactFailure }: PeerView): string {
  if (contactFailure === undefined) {
    return '';
  }
  const { attempts, message, agoMs } = contactFailure;
  const tried = attempts
    .slice(0, shownAttempts)
    .map(({ address, reason }) => `${address} (${trimmed(reason)})`);
  const more = attempts.length > shownAttempts ? ` and ${attempts.length - shownAttempts} more` : '';
  const what = tried.length === 0 ? trimmed(message) : `no answer at ${tried.join(', ')}${more}`;
  return ` Last tried ${seconds(agoMs)} ago: ${what}.`;
}

function hintFor(code: string): string {
  switch (code) {
    case 'clock_skewed':
      return setTheClock;
    case 'peer_key_mismatch':
      return 'Another node has taken its address. Start the node that is meant, so that it tells its new one.';
    case 'peer_unreachable':
      return 'Look whether its node runs and its firewall lets its port through; --announce names an address that others reach.';
    default:
      return 'Compare the two nodes: `meshnode status` on both says of which mesh they are and whether they are in it.';
  }
}

const setTheClock = 'Let both machines set their clocks by the network, e.g. `timedatectl set-ntp true`.';

function clockOf(peer: PeerView, known: readonly PeerView[]): CheckResult[] {
  const { clockAheadMs: aheadMs = 0, clockAgeMs: ageMs = 0 } = peer;
  if (Math.abs(aheadMs) < notedSkewMs) {
    return [];
  }
  const isTooFar = Math.abs(aheadMs) >= trustLimits.clockToleranceMs;
  const where = aheadMs > 0 ? 'ahead of' : 'behind';
  const when = `as of its greeting ${seconds(ageMs)} ago, exact to about a round trip`;
  const found = `The clock of ${nameOf(peer)} is ${seconds(Math.abs(aheadMs))} ${where} this one, ${when}.`;
  const isOwn = known.length > 1 && known.every((other) => isSkewedLike(other, aheadMs));
  const hint = isOwn
    ? `It is so for all peers, so this machine's clock is the wrong one. ${setTheClock}`
    : setTheClock;
  return about(peer, [isTooFar ? failed('clocks', found, hint) : warning('clocks', found, hint)]);
}

function isSkewedLike({ clockAheadMs = 0 }: PeerView, aheadMs: number): boolean {
  return Math.abs(clockAheadMs) >= notedSkewMs && Math.sign(clockAheadMs) === Math.sign(aheadMs);
}

function versionOf(peer: PeerView, own: string): CheckResult[] {
  const behind = minorsBehind(peer.version, own);
  if (behind === undefined || Math.abs(behind) < oldMinors) {
    return [];
  }
  const [older, newer] = behind > 0 ? ['it', 'this node'] : ['this node', 'it'];
  const features = peer.features.length === 0 ? '' : ` and has ${peer.features.join(', ')}`;
  const found = `${nameOf(peer)} runs ${peer.version}${features}, this node ${own}: ${older} is much older than ${newer}.`;
  const hint = behind > 0 ? 'Update that node.' : 'Update this node.';
  return about(peer, [warning('versions', found, hint)]);
}

/** Minor versions that `version` is older than `own`; infinite if a major one lies between, undefined if one says none. */
function minorsBehind(version: string, own: string): number | undefined {
  const [theirs, ours] = [version, own].map((text) => /^(\d+)\.(\d+)\./.exec(text)?.slice(1).map(Number));
  const [theirMajor, theirMinor] = theirs ?? [];
  const [ourMajor, ourMinor] = ours ?? [];
  if (
    theirMajor === undefined ||
    theirMinor === undefined ||
    ourMajor === undefined ||
    ourMinor === undefined
  ) {
    return undefined;
  }
  return theirMajor === ourMajor ? ourMinor - theirMinor : (ourMajor - theirMajor) * Number.POSITIVE_INFINITY;
}

function endOf(whose: string, expiresAt: string, wallMs: number): CheckResult[] {
  const leftMs = Date.parse(expiresAt) - wallMs;
  const hint =
    'An admin that is online renews it within minutes; is none, start one, or join again with a new invite.';
  if (leftMs <= 0) {
    return [failed('certificates', `${whose}: its membership has ended (${expiresAt}).`, hint)];
  }
  return leftMs <= trustLimits.warningLeftMs
    ? [warning('certificates', `${whose}: its membership ends at ${expiresAt}.`, hint)]
    : [];
}

function days({ certificateExpiresAt }: MeshStatus, wallMs: number): number {
  return Math.floor((Date.parse(certificateExpiresAt) - wallMs) / (24 * 60 * 60_000));
}

function namesLike(name: string, { models }: MeshStatus): string {
  const names = models
    .map((model) => model.name)
    .filter((other) => other === name || other.startsWith(`${name}@`));
  return names.join(', ') || name;
}

function allHeard(count: number): string {
  return count === 0 ? 'There is no other node in this mesh yet.' : `${plural(count, 'peer')} heard.`;
}

function pathNames(paths: PeerView['paths']): string {
  return [...new Set(paths.map(({ path }) => path))].sort().join(' and ');
}

function nameOf(peer: PeerView): string {
  return peer.name === '' ? shortId(peer) : `${peer.name} (${shortId(peer)})`;
}

/** All ids begin alike; the end may stand for the whole. */
function shortId({ peerId }: PeerView): string {
  return peerId.slice(-8);
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

function seconds(ms: number): string {
  if (ms >= 120_000) {
    return `${Math.round(ms / 60_000)} min`;
  }
  return ms < 1_000 ? `${Math.max(0.1, ms / 1_000).toFixed(1)} s` : `${Math.round(ms / 1_000)} s`;
}

/** As part of a sentence. */
function trimmed(text: string): string {
  return text.replace(/\.+$/, '');
}
