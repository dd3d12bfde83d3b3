// This node's own announcement: its epoch and sequence, and when the next one is due. The epoch comes from
// memory and from what peers show, never from the clock.
import type { Certificate } from '../trust/certificate.ts';
import { type Envelope, seal } from '../trust/envelope.ts';
import type { KeyPair, MeshId } from '../trust/keys.ts';
import { includesRole, type Role } from '../trust/roles.ts';
import { meshLimits, recordLimits } from '../util/limits/mesh.ts';
import type { Random } from '../util/random.ts';
import { fitFacts } from './fit-facts.ts';
import { jittered } from './jitter.ts';
import type { Now } from './membership-events.ts';
import { type LocalFacts, noFacts, type PeerRecord } from './record.ts';
import { encodeRecord } from './record-codec.ts';
import { compareVersions, type RecordVersion } from './version.ts';

export interface OwnRecordInit {
  readonly identity: KeyPair;
  readonly meshId: MeshId;
  /** What the node wants to be; never more than its certificate says. */
  readonly role: Role;
  readonly facts: LocalFacts;
  /** The epoch of the last run; 0 if none is remembered. */
  readonly lastEpoch: number;
  readonly random: Random;
}

/**
 * Time between two announcements of one node. Everybody hears everybody: in a large mesh each speaks more rarely, so
 * that what a node hears hardly grows.
 */
export function announceEveryMs(members: number): number {
  const wantedMs = Math.max(meshLimits.announceMs, members * meshLimits.announceShareMs);
  return Math.min(wantedMs, recordLimits.lifeMs / meshLimits.announcementsPerLife);
}

function recordLifeMs(everyMs: number): number {
  return Math.max(meshLimits.recordLifeMs, everyMs * meshLimits.announcementsPerLife);
}

/** What is counted or measured changes all the time, and goes with the next announcement. */
function newsOf(facts: LocalFacts): string {
  return JSON.stringify({ ...facts, demand: [], served: [], neighbours: [] });
}

export class OwnRecord {
  readonly #init: OwnRecordInit;
  #facts: LocalFacts;
  #version: RecordVersion;
  #hasLeft = false;
  #dueMs = 0;
  #lastMs = Number.NEGATIVE_INFINITY;

  constructor(init: OwnRecordInit) {
    this.#init = init;
    this.#facts = fitFacts(init.facts, init.role);
    // The first announcement raises the sequence to 0.
    this.#version = { epoch: init.lastEpoch + 1, sequence: -1 };
  }

  get version(): RecordVersion {
    return this.#version;
  }

  /** Whether the node says of itself that only its own machine can dial it. */
  get isLocal(): boolean {
    const { addresses } = this.#facts;
    return addresses.length > 0 && addresses.every((address) => /^\/ip[46]\/(?:127\.|::1\/)/.test(address));
  }

  /** Monotonic time of the next announcement. */
  get dueMs(): number {
    return this.#dueMs;
  }

  /** Others hear of changed facts soon, but not of each of many changes in a row. */
  change(facts: LocalFacts, now: Now): void {
    const before = this.#facts;
    this.#facts = fitFacts(facts, this.#init.role);
    if (newsOf(before) !== newsOf(this.#facts)) {
      this.hurry(now);
    }
  }

  /** The last announcement came to nothing. */
  announceLater(now: Now): void {
    this.#dueMs = Math.min(this.#dueMs, now.monotonicMs + meshLimits.announceMs);
  }

  /** The next announcement comes as soon as is decent. */
  hurry(now: Now): void {
    this.#dueMs = Math.min(this.#dueMs, Math.max(now.monotonicMs, this.#lastMs + meshLimits.announceLeastMs));
  }

  /** An older life of this node is remembered somewhere: start above it. Returns whether that changed anything. */
  outlive(seen: RecordVersion): boolean {
    if (compareVersions(seen, this.#version) < 0) {
      return false;
    }
    this.#version = { epoch: seen.epoch + 1, sequence: -1 };
    return true;
  }

  /** Somebody holds this version of the node dead: say something newer. False: that was done. */
  refute(seen: RecordVersion, now: Now): boolean {
    const { epoch, sequence } = this.#version;
    // The last word may not have come to those who hold the one before for the last.
    const isNews = seen.epoch === epoch && seen.sequence >= sequence - 1;
    if (isNews) {
      this.#version = { epoch, sequence: Math.max(seen.sequence, sequence) };
      this.hurry(now);
    }
    return isNews;
  }

  /** The last word of this node in this mesh. */
  leave(certificate: Certificate, now: Now, members: number): Envelope {
    this.#hasLeft = true;
    this.#facts = noFacts;
    return this.announce(certificate, now, members);
  }

  /** The next announcement, signed. In a mesh of more `members` it comes more rarely, and holds for longer. */
  announce(certificate: Certificate, now: Now, members: number): Envelope {
    const { identity, meshId, random, role } = this.#init;
    const { epoch, sequence } = this.#version;
    this.#version = { epoch, sequence: sequence + 1 };
    this.#lastMs = now.monotonicMs;
    const everyMs = announceEveryMs(members);
    this.#dueMs = now.monotonicMs + jittered(everyMs, random);
    const record: PeerRecord = {
      ...this.#facts,
      ...this.#version,
      peerId: identity.peerId,
      issuedMs: Math.floor(now.wallMs),
      expiresMs: Math.floor(now.wallMs + recordLifeMs(everyMs)),
      certificate: certificate.bytes,
      left: this.#hasLeft,
      role: includesRole(certificate.role, role) ? role : certificate.role,
    };
    return seal('record', meshId, encodeRecord(record), identity);
  }
}
