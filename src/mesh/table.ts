// What every node said last of itself, and whom its neighbours hold dead. What the table holds depends on the
// set of envelopes offered, never on their order or on who brought them; nobody can speak for another node.
import type { Certificate } from '../trust/certificate.ts';
import { checkEnvelope, type Envelope, readEnvelope } from '../trust/envelope.ts';
import { keyText, type MeshId, type PeerId, type SignatureCheck } from '../trust/keys.ts';
import type { MeshTrust } from '../trust/mesh-trust.ts';
import { includesRole } from '../trust/roles.ts';
import { MeshnodeError } from '../util/errors.ts';
import { meshLimits } from '../util/limits/mesh.ts';
import { AuthorRate } from './author-rate.ts';
import { type Death, readDeath } from './death.ts';
import type { PeerRecord } from './record.ts';
import { readRecord } from './record-codec.ts';
import { isNeighbour } from './rendezvous.ts';
import { compareVersions } from './version.ts';

/** alive: its record holds. dead: enough neighbours say so. expired: its record ran out unrenewed. left: its own word. */
export type MemberStatus = 'alive' | 'dead' | 'expired' | 'left';

export interface TableEntry {
  readonly record: PeerRecord;
  readonly certificate: Certificate;
  readonly envelope: Envelope;
  /**
   * When the record runs out by the clock of this machine: a life after it came, for the other's clock may be off by
   * the tolerance, but no later than that allows.
   */
  readonly endMs: number;
}

/** A record that is held no more. */
export interface Forgotten {
  readonly peer: PeerId;
  /**
   * 'likely': the node was only not heard of for long, and still stands. 'doubtful': only who made it a member does not.
   * 'none': it has left, or it is out itself.
   */
  readonly returns: 'likely' | 'doubtful' | 'none';
}

/** What an offered envelope did to the table. `first`: of a node that was not known, or that somebody held dead. */
export type OfferOutcome =
  | { readonly outcome: 'new'; readonly peer: PeerId; readonly first: boolean }
  | { readonly outcome: 'known' | 'older'; readonly peer: PeerId };

interface HeldDeath {
  readonly death: Death;
  readonly envelope: Envelope;
}

/** What bytes become: readEnvelope and readRecord, or what a simulation shares among a thousand nodes. */
export interface Readers {
  readonly envelope: (bytes: Uint8Array, meshId: MeshId) => Envelope;
  readonly record: (payload: Uint8Array, signer: Uint8Array) => PeerRecord;
}

export const plainReaders: Readers = { envelope: readEnvelope, record: readRecord };

export interface RecordTableInit {
  readonly trust: MeshTrust;
  readonly check: SignatureCheck;
  readonly readers?: Readers;
}

export class RecordTable {
  readonly #trust: MeshTrust;
  readonly #check: SignatureCheck;
  readonly #readers: Readers;
  readonly #entries = new Map<PeerId, TableEntry>();
  /** By subject, then by author. */
  readonly #deaths = new Map<PeerId, Map<PeerId, HeldDeath>>();
  readonly #recordRate = new AuthorRate('records', meshLimits.recordsPerMinute);
  readonly #leaveRate = new AuthorRate('leaves', meshLimits.leavesPerMinute);
  readonly #verdictRate = new AuthorRate('verdicts', meshLimits.deathsPerMinute);
  #removals = 0;
  /** The state of trust that everybody was last judged by. */
  #judgedVersion = -1;
  /** Whom the next sweep begins with. */
  #turn = this.#entries.entries();

  constructor({ trust, check, readers = plainReaders }: RecordTableInit) {
    this.#trust = trust;
    this.#check = check;
    this.#readers = readers;
  }

  get(peer: PeerId): TableEntry | undefined {
    return this.#entries.get(peer);
  }

  entries(): IterableIterator<TableEntry> {
    return this.#entries.values();
  }

  get size(): number {
    return this.#entries.size;
  }

  /** How many nodes speak: have not left, are heard of, and are not held dead by two of their neighbours. */
  speakers(wallMs: number): number {
    let count = 0;
    for (const entry of this.#entries.values()) {
      count += this.#speaks(entry, wallMs) ? 1 : 0;
    }
    return count;
  }

  /** Rises whenever something is forgotten. */
  get removals(): number {
    return this.#removals;
  }

  /** Every verdict held, for whoever lacks it. */
  *deaths(): Generator<HeldDeath> {
    for (const byAuthor of this.#deaths.values()) {
      yield* byAuthor.values();
    }
  }

  /**
   * Takes a record if it is signed by the node it speaks of, whose certificate stands and allows what it claims,
   * and if it is newer than the one held. Throws `envelope_invalid`, `record_invalid`, or why the certificate
   * does not stand.
   */
  offerRecord(envelope: Envelope, wallMs: number): OfferOutcome {
    const record = this.#readers.record(envelope.payload, envelope.signer);
    const held = this.#entries.get(record.peerId);
    const order = held === undefined ? 1 : compareEnvelopes(record, envelope, held);
    if (order <= 0) {
      return { outcome: order === 0 ? 'known' : 'older', peer: record.peerId };
    }
    checkTimes(record, wallMs);
    const certificate = this.#standingOf(record, envelope, held, wallMs);
    checkEnvelope(envelope, this.#check);
    if (held === undefined && this.#entries.size >= meshLimits.records) {
      throw new MeshnodeError('record_untimely', `The table already holds ${meshLimits.records} nodes.`);
    }
    const rate = record.left ? this.#leaveRate : this.#recordRate;
    rate.count(record.peerId, wallMs);
    const first = held === undefined || this.#verdicts(held.record) > this.#verdicts(record);
    this.#entries.set(record.peerId, { record, certificate, envelope, endMs: endOf(record, wallMs) });
    return { outcome: 'new', peer: record.peerId, first };
  }

  /** Takes a neighbour's verdict. Throws `envelope_invalid`, `record_invalid` or `record_untimely`; whether it counts is asked later. */
  offerDeath(envelope: Envelope, wallMs: number): OfferOutcome {
    const death = readDeath(envelope.payload, envelope.signer);
    const { subject, author } = death;
    const held = this.#deaths.get(subject)?.get(author);
    if (held !== undefined && compareVersions(death, held.death) <= 0) {
      const same = compareVersions(death, held.death) === 0;
      return { outcome: same ? 'known' : 'older', peer: subject };
    }
    this.#checkVerdict(death, wallMs);
    checkEnvelope(envelope, this.#check);
    // Counted before the rest is looked at: that costs a hash for each member.
    this.#verdictRate.count(author, wallMs);
    if (!this.#areNeighbours(subject, author)) {
      throw new MeshnodeError('record_untimely', 'A verdict is not from a neighbour.');
    }
    const byAuthor = this.#deaths.get(subject) ?? new Map<PeerId, HeldDeath>();
    this.#deaths.set(subject, byAuthor.set(author, { death, envelope }));
    return { outcome: 'new', peer: subject, first: held === undefined };
  }

  /** Whether the mesh takes verdicts of `author` on `subject`: in a large one it may be linked with who is no neighbour. */
  maySpeakOf(subject: PeerId, author: PeerId): boolean {
    return this.#isVoice(author) && this.#areNeighbours(subject, author);
  }

  /** What is to be thought of a node. `linked` nodes are alive whatever others say: we talk to them. */
  status(peer: PeerId, wallMs: number, linked: (peer: PeerId) => boolean): MemberStatus | undefined {
    const entry = this.#entries.get(peer);
    if (entry === undefined) {
      return undefined;
    }
    if (entry.record.left) {
      return 'left';
    }
    if (linked(peer)) {
      return 'alive';
    }
    if (wallMs > entry.endMs) {
      return 'expired';
    }
    return this.#verdicts(entry.record) >= this.#verdictsNeeded(peer, wallMs) ? 'dead' : 'alive';
  }

  /**
   * Forgets what has run out and what no longer stands. A record is kept past its end for as long as a stale
   * copy of it could still be taken for new. Looks at everybody if anybody's standing may have changed, else at some
   * in turn: in a large mesh what time does may wait for a few sweeps. Returns whose records went.
   */
  sweep(wallMs: number): Forgotten[] {
    const gone: Forgotten[] = [];
    const isAnew = this.#trust.version !== this.#judgedVersion;
    this.#judgedVersion = this.#trust.version;
    for (const [peer, { record, certificate }] of isAnew ? this.#entries : this.#inTurn()) {
      const isOver = wallMs > record.expiresMs + meshLimits.clockToleranceMs;
      const { standing } = this.#trust.judge(certificate, wallMs);
      if (isOver || !standing) {
        this.#entries.delete(peer);
        this.#recordRate.forget(peer);
        this.#leaveRate.forget(peer);
        this.#verdictRate.forget(peer);
        this.#removals++;
        const whileOut = this.#trust.fellWithAnother(certificate) ? 'doubtful' : 'none';
        gone.push({ peer, returns: record.left ? 'none' : standing ? 'likely' : whileOut });
      }
    }
    this.#sweepDeaths(wallMs);
    return gone;
  }

  *#inTurn(): Generator<[PeerId, TableEntry]> {
    for (let looks = Math.min(meshLimits.sweepEntries, this.#entries.size); looks > 0; looks--) {
      let next = this.#turn.next();
      if (next.done) {
        this.#turn = this.#entries.entries();
        next = this.#turn.next();
      }
      if (next.done) {
        return;
      }
      yield next.value;
    }
  }

  #sweepDeaths(wallMs: number): void {
    for (const [subject, byAuthor] of this.#deaths) {
      for (const [author, { death }] of byAuthor) {
        if (wallMs > death.expiresMs + meshLimits.clockToleranceMs || !this.#isVoice(author)) {
          byAuthor.delete(author);
          this.#removals++;
        }
      }
      if (byAuthor.size === 0) {
        this.#deaths.delete(subject);
      }
    }
  }

  /** The certificate that lets `record` stand; mostly that of the record which is held already. */
  #standingOf(
    record: PeerRecord,
    envelope: Envelope,
    held: TableEntry | undefined,
    wallMs: number,
  ): Certificate {
    const isHeld = held !== undefined && Buffer.compare(held.certificate.bytes, record.certificate) === 0;
    const certificate = isHeld ? held.certificate : this.#trust.certificate(record.certificate);
    if (keyText(certificate.peerKey) !== keyText(envelope.signer)) {
      throw new MeshnodeError('record_invalid', 'A record carries the certificate of another node.');
    }
    if (!includesRole(certificate.role, record.role)) {
      throw new MeshnodeError('record_invalid', `A record claims the role ${record.role} without having it.`);
    }
    const judgement = this.#trust.judge(certificate, wallMs);
    if (!judgement.standing) {
      throw new MeshnodeError(judgement.code, judgement.message);
    }
    return certificate;
  }

  #checkVerdict(death: Death, wallMs: number): void {
    const { subject, author, atMs, expiresMs } = death;
    if (subject === author || !this.#isVoice(author)) {
      throw new MeshnodeError('record_untimely', 'A verdict is not from a member that may give one.');
    }
    if (atMs > wallMs + meshLimits.clockToleranceMs || expiresMs + meshLimits.clockToleranceMs < wallMs) {
      throw new MeshnodeError('record_untimely', 'A verdict is of another time.');
    }
  }

  /** Whether a node may speak about others at all. */
  #isVoice(author: PeerId): boolean {
    const entry = this.#entries.get(author);
    return entry !== undefined && !entry.record.left && entry.record.role !== 'client';
  }

  /** By what anyone can compute; a table that lacks or has a few members more must come to the same. */
  #areNeighbours(a: PeerId, b: PeerId): boolean {
    const among = (peer: PeerId, of: PeerId): boolean =>
      isNeighbour(peer, of, this.#entries.keys(), 2 * meshLimits.chosenNeighbours);
    return this.#entries.size <= meshLimits.fullMesh || among(a, b) || among(b, a);
  }

  /** Verdicts that speak of this record: a newer one of the node refutes them all. */
  #verdicts(record: PeerRecord): number {
    let count = 0;
    for (const { death } of this.#deaths.get(record.peerId)?.values() ?? []) {
      const ahead = death.sequence - record.sequence;
      // A little ahead is an announcement that has not come here yet; far ahead is an author who wants no answer.
      if (
        death.epoch === record.epoch &&
        ahead >= 0 &&
        ahead <= meshLimits.deathLead &&
        this.#isVoice(death.author)
      ) {
        count++;
      }
    }
    return count;
  }

  /** Two, but one where only one other is alive to say it. */
  #verdictsNeeded(subject: PeerId, wallMs: number): number {
    let voices = 0;
    for (const entry of this.#entries.values()) {
      const { peerId, role } = entry.record;
      if (peerId !== subject && role !== 'client' && this.#speaks(entry, wallMs) && ++voices === 2) {
        return 2;
      }
    }
    return 1;
  }

  /** Without asking who else speaks, which would ask this of each other again: who is held dead by one alone speaks. */
  #speaks({ record, endMs }: TableEntry, wallMs: number): boolean {
    return !record.left && endMs >= wallMs && this.#verdicts(record) < 2;
  }
}

/** Two different records of one version can only come from two processes with one key: the bytes decide, alike everywhere. */
function compareEnvelopes(record: PeerRecord, envelope: Envelope, held: TableEntry): number {
  return compareVersions(record, held.record) || Buffer.compare(envelope.bytes, held.envelope.bytes);
}

function endOf({ issuedMs, expiresMs }: PeerRecord, wallMs: number): number {
  return Math.min(wallMs + (expiresMs - issuedMs), expiresMs + meshLimits.clockToleranceMs);
}

function checkTimes(record: PeerRecord, wallMs: number): void {
  if (record.issuedMs > wallMs + meshLimits.clockToleranceMs) {
    throw new MeshnodeError('record_untimely', 'A record comes from the future.');
  }
  if (record.expiresMs + meshLimits.clockToleranceMs < wallMs) {
    throw new MeshnodeError('record_untimely', 'A record has run out long ago.');
  }
}
