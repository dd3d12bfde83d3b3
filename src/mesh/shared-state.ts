// Everything signed that the members share, behind one entrance: uses, revocations, records and verdicts. Every
// envelope is taken here or refused, whoever brought it and by whatever way.
import { checkEnvelope, type Envelope } from '../trust/envelope.ts';
import { keyText, type PeerId, publicKeyOf, type SignatureCheck } from '../trust/keys.ts';
import type { MeshTrust } from '../trust/mesh-trust.ts';
import { assertInvariant, MeshnodeError } from '../util/errors.ts';
import { readDeath } from './death.ts';
import { fixedItem, type Item, Items, versionedItem } from './items.ts';
import type { PeerRecord } from './record.ts';
import {
  type Forgotten,
  plainReaders,
  type Readers,
  RecordTable,
  type RecordTableInit,
  type TableEntry,
} from './table.ts';
import { compareVersions, type RecordVersion } from './version.ts';

/** What became of an envelope. */
export type Taken =
  /** A use or a revocation: somebody's standing may have changed. */
  | { readonly what: 'standing'; readonly envelope: Envelope }
  | {
      readonly what: 'record';
      readonly envelope: Envelope;
      readonly record: PeerRecord;
      readonly first: boolean;
    }
  | { readonly what: 'death'; readonly envelope: Envelope; readonly subject: PeerId }
  /** A record with this node's own signature that this run did not make. */
  | { readonly what: 'own-record'; readonly record: PeerRecord }
  /** Somebody holds this node dead. */
  | { readonly what: 'own-death'; readonly version: RecordVersion }
  /** Held already, or something newer is. */
  | { readonly what: 'nothing' };

export interface SharedStateInit extends RecordTableInit {
  readonly self: PeerId;
}

const nothing: Taken = { what: 'nothing' };

export class SharedState {
  readonly table: RecordTable;
  readonly items = new Items();
  readonly #self: PeerId;
  readonly #selfKey: Uint8Array;
  readonly #trust: MeshTrust;
  readonly #check: SignatureCheck;
  readonly #readers: Readers;
  /** What the items were last made of. */
  #collected = { trust: -1, removals: -1 };

  constructor({ self, ...parts }: SharedStateInit) {
    const { trust, check, readers = plainReaders } = parts;
    this.#self = self;
    this.#selfKey = requireKey(self);
    this.#trust = trust;
    this.#check = check;
    this.#readers = readers;
    this.table = new RecordTable(parts);
    this.#collect();
  }

  /**
   * Takes an envelope. Throws why it is refused: `envelope_invalid` and `record_invalid` are the fault of who
   * signed it or brought it; `certificate_*`, `token_used_up` and the like may be news that has not come here yet.
   */
  take(bytes: Uint8Array, wallMs: number): Taken {
    if (this.items.holds(bytes)) {
      return nothing;
    }
    const envelope = this.#readers.envelope(bytes, this.#trust.meshId);
    switch (envelope.kind) {
      case 'use':
      case 'revocation':
        return this.#takeStanding(envelope, wallMs);
      case 'record':
        return this.#takeRecord(envelope, wallMs);
      case 'death':
        return this.#takeDeath(envelope, wallMs);
      default:
        throw new MeshnodeError(
          'envelope_invalid',
          `An envelope of kind ${envelope.kind} does not travel alone.`,
        );
    }
  }

  /** Takes what this node has just signed itself as its record. */
  takeOwn(envelope: Envelope, wallMs: number): void {
    this.table.offerRecord(envelope, wallMs);
    const entry = this.table.get(this.#self);
    assertInvariant(entry !== undefined, 'a node holds its own record');
    this.items.put(recordItem(entry));
  }

  /** Forgets what has run out or lost its standing. Returns the peers whose records went. */
  sweep(wallMs: number): Forgotten[] {
    this.#trust.prune(wallMs);
    const gone = this.table.sweep(wallMs);
    if (this.#trust.version !== this.#collected.trust || this.table.removals !== this.#collected.removals) {
      this.#collect();
    }
    return gone;
  }

  /** Makes the items what trust and table hold now. */
  #collect(): void {
    this.items.replace(this.#held());
    this.#collected = { trust: this.#trust.version, removals: this.table.removals };
  }

  *#held(): Generator<Item> {
    yield* this.#trust.items().map(fixedItem);
    for (const entry of this.table.entries()) {
      yield recordItem(entry);
    }
    for (const { death, envelope } of this.table.deaths()) {
      yield deathItem(death.subject, death, envelope);
    }
  }

  #takeStanding(envelope: Envelope, wallMs: number): Taken {
    const { size, version } = this.#trust;
    if (this.#trust.offer(envelope, wallMs) !== 'new') {
      return nothing;
    }
    // One of thousands held; only where it took another's place are they looked through.
    if (this.#trust.size === size + 1 && this.#collected.trust === version) {
      this.items.put(fixedItem(envelope));
      this.#collected = { ...this.#collected, trust: this.#trust.version };
    } else {
      this.#collect();
    }
    return { what: 'standing', envelope };
  }

  #takeRecord(envelope: Envelope, wallMs: number): Taken {
    if (Buffer.compare(envelope.signer, this.#selfKey) === 0) {
      return this.#seeOwnRecord(envelope);
    }
    const offer = this.table.offerRecord(envelope, wallMs);
    const entry = this.table.get(offer.peer);
    if (offer.outcome !== 'new' || entry === undefined) {
      return nothing;
    }
    this.items.put(recordItem(entry));
    return { what: 'record', envelope, record: entry.record, first: offer.first };
  }

  #seeOwnRecord(envelope: Envelope): Taken {
    const record = this.#readers.record(envelope.payload, envelope.signer);
    const held = this.table.get(this.#self);
    const isOurs = held !== undefined && keyText(held.envelope.signature) === keyText(envelope.signature);
    if (isOurs || (held !== undefined && compareVersions(record, held.record) < 0)) {
      return nothing;
    }
    checkEnvelope(envelope, this.#check);
    return { what: 'own-record', record };
  }

  #takeDeath(envelope: Envelope, wallMs: number): Taken {
    const offer = this.table.offerDeath(envelope, wallMs);
    if (offer.outcome !== 'new') {
      return nothing;
    }
    const death = readDeath(envelope.payload, envelope.signer);
    this.items.put(deathItem(death.subject, death, envelope));
    return death.subject === this.#self
      ? { what: 'own-death', version: death }
      : { what: 'death', envelope, subject: death.subject };
  }
}

function recordItem({ record, envelope }: TableEntry): Item {
  return versionedItem('record', [envelope.signer], record, envelope);
}

function deathItem(subject: PeerId, version: RecordVersion, envelope: Envelope): Item {
  return versionedItem('death', [envelope.signer, requireKey(subject)], version, envelope);
}

function requireKey(peer: PeerId): Uint8Array {
  const key = publicKeyOf(peer);
  assertInvariant(key !== undefined, 'a node is called by its key');
  return key;
}
