// Sums up a set of versioned items, so that two nodes find what one of them lacks for a few bytes: one hash,
// then 256 of them, then the items of the buckets that differ. Pure; holds versions, never the items.
//
// A bucket's hash is the sum of its items' hashes, so that a change costs one hash and order does not matter.
// Nothing here is secret, so a member who can have thousands of items of its own choice held can find two sets with
// one sum (a generalised birthday attack on 64 bits; an XOR would fall to linear algebra with 64 items). It wins a
// delay and no more: two nodes that hold exactly those two sets see no difference until either set changes, while
// broadcasts and all other pairs of nodes still carry the items. A secret in the hash would have to be one for each
// pair of nodes, and each exchange would then cost a hash for every item.
import { createHash } from 'node:crypto';
import { keyText } from '../trust/keys.ts';
import { assertInvariant } from '../util/errors.ts';
import { meshMessageLimits } from '../util/limits/mesh.ts';
import { compareVersions, type RecordVersion } from './version.ts';

/** An item by its key of 16 bytes. Two copies of one key differ only by version; (0, 0) for what has none. */
export interface ItemVersion extends RecordVersion {
  readonly key: Uint8Array;
}

/** What two sets owe each other. */
export interface Difference {
  /** Keys that the other side lacks or has older. */
  readonly send: readonly Uint8Array[];
  /** Keys that this side lacks or has older. */
  readonly want: readonly Uint8Array[];
}

export const itemKeyBytes = 16;
export const bucketCount = 256;
export const hashBytes = 8;
export const bitmapBytes = bucketCount / 8;

interface HeldItem extends ItemVersion {
  readonly hash: bigint;
}

/** Items whose keys share their first byte, by their key's hex. */
interface Bucket {
  readonly items: Map<string, HeldItem>;
  /** Sum of the items' hashes modulo 2^64. */
  sum: bigint;
}

/** A set of item versions. Whoever fills it bounds it. */
export class ItemDigest {
  readonly #buckets: readonly Bucket[] = Array.from({ length: bucketCount }, () => ({
    items: new Map(),
    sum: 0n,
  }));
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Adds an item, or replaces its version by this one, newer or not. Keeps a copy of the key. */
  set(key: Uint8Array, epoch: number, sequence: number): void {
    this.delete(key);
    const bucket = this.#bucketOf(key);
    const item = { key: new Uint8Array(key), epoch, sequence, hash: itemHash(key, epoch, sequence) };
    bucket.items.set(keyText(key), item);
    bucket.sum = BigInt.asUintN(64, bucket.sum + item.hash);
    this.#size++;
  }

  /** Forgets an item; does nothing if there is none of this key. */
  delete(key: Uint8Array): void {
    const bucket = this.#bucketOf(key);
    const item = bucket.items.get(keyText(key));
    if (item !== undefined) {
      bucket.items.delete(keyText(key));
      bucket.sum = BigInt.asUintN(64, bucket.sum - item.hash);
      this.#size--;
    }
  }

  /** 8 bytes: the same for the same set, and for no other that anyone has by chance. */
  root(): Uint8Array {
    return new Uint8Array(createHash('sha256').update(this.buckets()).digest().subarray(0, hashBytes));
  }

  /** The hashes of all buckets, 256 times 8 bytes. */
  buckets(): Uint8Array {
    const hashes = new Uint8Array(bucketCount * hashBytes);
    const view = new DataView(hashes.buffer);
    for (const [index, { sum }] of this.#buckets.entries()) {
      view.setBigUint64(index * hashBytes, sum);
    }
    return hashes;
  }

  /**
   * Which buckets differ from `theirs` (2048 bytes), a bit each: bucket 0 is the lowest of the first byte. Leaves
   * out those whose entries would make more than `mostEntries` here: their turn comes in a later exchange.
   */
  differingBuckets(theirs: Uint8Array, mostEntries: number = meshMessageLimits.entries): Uint8Array {
    const ours = this.buckets();
    const bitmap = new Uint8Array(bitmapBytes);
    let entries = 0;
    for (const [index, { items }] of this.#buckets.entries()) {
      const [from, to] = [index * hashBytes, (index + 1) * hashBytes];
      const differs = Buffer.compare(ours.subarray(from, to), theirs.subarray(from, to)) !== 0;
      if (differs && entries + items.size <= mostEntries) {
        entries += items.size;
        setBit(bitmap, index);
      }
    }
    return bitmap;
  }

  /** All items in the buckets of a bitmap. */
  entries(bitmap: Uint8Array): ItemVersion[] {
    return this.#itemsIn(bitmap).map(({ key, epoch, sequence }) => ({ key, epoch, sequence }));
  }

  /** What to send and what to ask for, given all that the other side holds in the buckets of `bitmap`. */
  compare(bitmap: Uint8Array, theirEntries: readonly ItemVersion[]): Difference {
    const theirs = new Map(theirEntries.map((entry) => [keyText(entry.key), entry]));
    const lacksOrHasOlder = (other: RecordVersion | undefined, version: RecordVersion): boolean =>
      other === undefined || compareVersions(version, other) > 0;
    return {
      send: this.#itemsIn(bitmap)
        .filter((item) => lacksOrHasOlder(theirs.get(keyText(item.key)), item))
        .map((item) => item.key),
      want: [...theirs]
        .filter(([hex, entry]) => lacksOrHasOlder(this.#bucketOf(entry.key).items.get(hex), entry))
        .map(([, entry]) => entry.key),
    };
  }

  #bucketOf(key: Uint8Array): Bucket {
    const bucket = this.#buckets[key[0] ?? 0];
    assertInvariant(bucket !== undefined && key.length === itemKeyBytes, 'an item key has 16 bytes');
    return bucket;
  }

  #itemsIn(bitmap: Uint8Array): HeldItem[] {
    return this.#buckets.flatMap(({ items }, index) => (hasBit(bitmap, index) ? [...items.values()] : []));
  }
}

/** The first 8 bytes of the SHA-256 of key, epoch and sequence. */
function itemHash(key: Uint8Array, epoch: number, sequence: number): bigint {
  const bytes = Buffer.alloc(itemKeyBytes + 16);
  bytes.set(key);
  bytes.writeBigUInt64BE(BigInt(epoch), itemKeyBytes);
  bytes.writeBigUInt64BE(BigInt(sequence), itemKeyBytes + 8);
  return createHash('sha256').update(bytes).digest().readBigUInt64BE();
}

function setBit(bitmap: Uint8Array, index: number): void {
  bitmap[index >> 3] = (bitmap[index >> 3] ?? 0) | (1 << (index & 7));
}

function hasBit(bitmap: Uint8Array, index: number): boolean {
  return ((bitmap[index >> 3] ?? 0) & (1 << (index & 7))) !== 0;
}
