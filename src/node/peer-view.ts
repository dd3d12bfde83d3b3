// One peer as the management API shows it, from what its record says, what its beats tell and what came of contacts
// with it. Pure.
import type { ContactFailure, LoadView, PathView, PeerView } from '../console/mesh-port.ts';
import type { Vitals } from '../mesh/liveness.ts';
import type { MemberView } from '../mesh/membership.ts';
import type { ModelLoad } from '../mesh/model-load.ts';
import type { RecordModel } from '../mesh/record.ts';
import type { Link } from '../net/network.ts';
import type { FailedContact, ToldTime } from './peer-contacts.ts';
import { roundedMs } from './peer-events.ts';

/** What of a peer is not in its record. Times are monotonic. */
export interface PeerNews {
  readonly name: string;
  readonly state: PeerView['state'];
  readonly links: readonly Link[];
  readonly vitals: Vitals | undefined;
  readonly failure: FailedContact | undefined;
  readonly told: ToldTime | undefined;
  readonly nowMs: number;
}

export function peerView({ record, certificate }: MemberView, news: PeerNews): PeerView {
  const { peerId, role, version, features, addresses, rpcBuild } = record;
  return {
    ...{ peerId, name: news.name, role, state: news.state },
    paths: news.links.map(pathView),
    ...vitalFields(record.models, news),
    ...contactFields(news),
    certificateExpiresAt: new Date(certificate.expiresMs).toISOString(),
    ...(rpcBuild === undefined ? {} : { rpcBuild }),
    ...{ version, features, addresses },
    devices: record.devices.map(({ bandwidthBytes: _bandwidth, ...device }) => device),
    models: record.models.map(modelFields),
  };
}

export function pathView({ path, direction, remoteAddress }: Link): PathView {
  return { path, direction, remoteAddress };
}

function vitalFields(models: readonly RecordModel[], { vitals, nowMs }: PeerNews): Partial<PeerView> {
  if (vitals === undefined) {
    return {};
  }
  const { rtt, load, heardMs } = vitals;
  return {
    ...(rtt === undefined ? {} : { rttMs: roundedMs(rtt.p50Ms), rttP95Ms: roundedMs(rtt.p95Ms) }),
    heardMsAgo: ageMs(heardMs, nowMs),
    ...(load === undefined
      ? {}
      : { load: loadViews(models, load.loads), loadAgeMs: ageMs(load.atMs, nowMs) }),
  };
}

/** A beat names the models that have something to do; those that can be asked and are not named are idle. */
function loadViews(models: readonly RecordModel[], told: readonly ModelLoad[]): LoadView[] {
  const busy = told.map(({ slots, ...load }) => ({ ...load, ...(slots === 0 ? {} : { slots }) }));
  const named = new Set(told.map(({ model }) => model));
  const idle = models.filter(({ name, state }) => state === 'ready' && !named.has(name));
  return [
    ...busy,
    ...idle.map(({ name, slots }) => ({
      ...{ model: name, inFlight: 0, queued: 0 },
      ...(slots === undefined ? {} : { slots }),
    })),
  ];
}

function contactFields({ failure, told, nowMs }: PeerNews): Partial<PeerView> {
  return {
    ...(failure === undefined ? {} : { contactFailure: failureView(failure, nowMs) }),
    ...(told === undefined
      ? {}
      : { clockAheadMs: Math.round(told.aheadMs), clockAgeMs: ageMs(told.atMs, nowMs) }),
  };
}

function failureView({ code, message, attempts, atMs }: FailedContact, nowMs: number): ContactFailure {
  return { code, message, agoMs: ageMs(atMs, nowMs), attempts };
}

function modelFields({ name, digest, state, kind }: RecordModel): PeerView['models'][number] {
  return {
    name,
    ...(digest === undefined ? {} : { digest }),
    ...(state === undefined ? {} : { state }),
    ...(kind === undefined ? {} : { kind }),
  };
}

/** A process that did not run excuses its neighbours, up to the present at most. */
function ageMs(atMs: number, nowMs: number): number {
  return Math.max(0, Math.round(nowMs - atMs));
}
