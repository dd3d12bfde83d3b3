// How announcements reach every member quickly: a port. Nothing depends on it for being right; what it loses is
// found by comparing digests.
import type { PeerId } from '../trust/keys.ts';
import type { HearingVerdict } from './membership-events.ts';

/** Judges an envelope that came by way of `peer`: whether it is taken and passed on. Called once per envelope and way. */
export type Hear = (peer: PeerId, envelope: Uint8Array) => HearingVerdict;

export interface Broadcast {
  /** Begins to listen. Called once, before the first publish. */
  start(hear: Hear): Promise<void>;
  /** A member is up: from now on it may be talked to. */
  admit(peer: PeerId): void;
  /** A member is up no more: nothing goes to it, and nothing of it is taken. */
  drop(peer: PeerId): void;
  /** Sends an envelope to every member, best effort. Never throws. */
  publish(envelope: Uint8Array): void;
  stop(): Promise<void>;
}

/** A mesh without broadcast: slower to learn, never wrong. */
export const noBroadcast: Broadcast = {
  start: async () => {},
  admit: () => {},
  drop: () => {},
  publish: () => {},
  stop: async () => {},
};
