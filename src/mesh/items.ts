// Everything signed that this node holds and passes on, by 16-byte keys, with the digest over it that two
// nodes compare. Knows nothing of what the items mean.
import { createHash } from 'node:crypto';
import type { Envelope } from '../trust/envelope.ts';
import { keyText } from '../trust/keys.ts';
import { ItemDigest } from './digest.ts';
import type { RecordVersion } from './version.ts';

const keyBytes = 16;
const unversioned: RecordVersion = { epoch: 0, sequence: 0 };

export interface Item {
  readonly key: Uint8Array;
  readonly version: RecordVersion;
  readonly envelope: Envelope;
}

/** What stands for one thing in its newest version: a node's record, an author's verdict on a node. */
export function versionedItem(
  what: 'record' | 'death',
  parts: readonly Uint8Array[],
  version: RecordVersion,
  envelope: Envelope,
): Item {
  const hash = createHash('sha256').update(what);
  for (const part of parts) {
    hash.update(part);
  }
  return { key: new Uint8Array(hash.digest().subarray(0, keyBytes)), version, envelope };
}

/** Of envelopes that are held, so that thousands of them are not hashed again whenever one goes. */
const fixedItems = new WeakMap<Envelope, Item>();

/** What never changes: a use, a revocation. */
export function fixedItem(envelope: Envelope): Item {
  const known = fixedItems.get(envelope);
  if (known !== undefined) {
    return known;
  }
  const hash = createHash('sha256').update(envelope.bytes).digest();
  const item = { key: new Uint8Array(hash.subarray(0, keyBytes)), version: unversioned, envelope };
  fixedItems.set(envelope, item);
  return item;
}

export class Items {
  readonly digest = new ItemDigest();
  #held = new Map<string, Item>();
  /** The same, by the end of their signatures. */
  #bySignature = new Map<string, Item>();

  get(key: Uint8Array): Envelope | undefined {
    return this.#held.get(keyText(key))?.envelope;
  }

  get size(): number {
    return this.#held.size;
  }

  /** Whether these very bytes are held: most of what comes has come before, by another neighbour. */
  holds(envelope: Uint8Array): boolean {
    const held = this.#bySignature.get(signatureText(envelope));
    return held !== undefined && Buffer.compare(held.envelope.bytes, envelope) === 0;
  }

  /** Makes the set hold exactly `items`: what is gone goes, what is new or changed comes. */
  replace(items: Iterable<Item>): void {
    const next = new Map<string, Item>();
    const bySignature = new Map<string, Item>();
    for (const item of items) {
      const text = keyText(item.key);
      next.set(text, item);
      bySignature.set(signatureText(item.envelope.bytes), item);
      const held = this.#held.get(text);
      if (held === undefined || !isSame(held, item)) {
        this.digest.set(item.key, item.version.epoch, item.version.sequence);
      }
    }
    for (const [text, { key }] of this.#held) {
      if (!next.has(text)) {
        this.digest.delete(key);
      }
    }
    this.#held = next;
    this.#bySignature = bySignature;
  }

  put(item: Item): void {
    const text = keyText(item.key);
    const replaced = this.#held.get(text);
    if (replaced !== undefined) {
      this.#bySignature.delete(signatureText(replaced.envelope.bytes));
    }
    this.digest.set(item.key, item.version.epoch, item.version.sequence);
    this.#held.set(text, item);
    this.#bySignature.set(signatureText(item.envelope.bytes), item);
  }
}

/** An envelope ends with its signature; half of it tells envelopes apart. */
function signatureText(envelope: Uint8Array): string {
  return keyText(envelope.subarray(-32));
}

function isSame(a: Item, b: Item): boolean {
  return a.version.epoch === b.version.epoch && a.version.sequence === b.version.sequence;
}
