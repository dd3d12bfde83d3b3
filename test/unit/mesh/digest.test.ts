import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ItemDigest, type ItemVersion } from '../../../src/mesh/digest.ts';
import type { MeshMessage } from '../../../src/mesh/message.ts';
import { encodeMessage } from '../../../src/mesh/message-codec.ts';
import { keyText } from '../../../src/trust/keys.ts';
import { itemVersions } from '../../support/mesh-arbitraries.ts';
import { thrownBy } from '../../support/thrown.ts';

function digestOf(items: Iterable<ItemVersion>): ItemDigest {
  const digest = new ItemDigest();
  for (const { key, epoch, sequence } of items) {
    digest.set(key, epoch, sequence);
  }
  return digest;
}

const allBuckets = new Uint8Array(32).fill(0xff);
const textOf = ({ key, epoch, sequence }: ItemVersion) => `${keyText(key)} ${epoch} ${sequence}`;
const heldBy = (digest: ItemDigest) => digest.entries(allBuckets).map(textOf).sort();
const numbered = (index: number): ItemVersion => {
  const key = new Uint8Array(16);
  // Spread over all buckets, as hashes are.
  new DataView(key.buffer).setUint32(0, Math.imul(index, 0x9e3779b1) >>> 0);
  return { key, epoch: 1, sequence: index };
};

/** Few keys in few buckets, so that two sets have many in common. */
const itemSets = fc.uniqueArray(
  fc.record({
    key: fc.nat({ max: 40 }).map((value) => new Uint8Array(16).fill(value % 7).fill(value, 15)),
    epoch: fc.nat({ max: 2 }),
    sequence: fc.nat({ max: 2 }),
  }),
  { selector: ({ key }) => keyText(key), maxLength: 30 },
);

/**
 * One exchange by the protocol: digest, buckets, entries, then want and items both ways. The receiver of an item
 * keeps it if it is newer. The messages that went over the wire.
 */
function exchange(a: ItemDigest, b: ItemDigest): MeshMessage[] {
  const sent: MeshMessage[] = [{ type: 'digest', root: a.root(), items: a.size }];
  if (Buffer.compare(a.root(), b.root()) === 0) {
    return sent;
  }
  const hashes = b.buckets();
  const bitmap = a.differingBuckets(hashes);
  const entries = a.entries(bitmap);
  const { send, want } = b.compare(bitmap, entries);
  sent.push({ type: 'buckets', hashes }, { type: 'entries', buckets: bitmap, entries });
  sent.push({ type: 'want', keys: want });
  copy(send, b, a);
  copy(want, a, b);
  return sent;
}

function copy(keys: readonly Uint8Array[], from: ItemDigest, to: ItemDigest): void {
  const held = new Map(from.entries(allBuckets).map((item) => [keyText(item.key), item]));
  for (const key of keys) {
    const item = held.get(keyText(key)) ?? expect.fail('a key was named that is not held');
    to.set(item.key, item.epoch, item.sequence);
  }
}

describe('ItemDigest', () => {
  it('has the same root and buckets for the same set, whatever came in between', () => {
    fc.assert(
      fc.property(itemSets, fc.array(itemVersions), (items, others) => {
        const straight = digestOf(items);
        const crooked = digestOf([...others, ...items.toReversed(), ...items]);
        for (const { key } of others) {
          crooked.delete(key);
        }
        for (const { key, epoch, sequence } of items) {
          crooked.set(key, epoch, sequence);
        }
        expect(crooked.root()).toEqual(straight.root());
        expect(crooked.buckets()).toEqual(straight.buckets());
        expect(crooked.size).toBe(items.length);
      }),
    );
  });

  it('has equal roots for equal sets and for no others', () => {
    fc.assert(
      fc.property(itemSets, itemSets, (one, other) => {
        const [a, b] = [digestOf(one), digestOf(other)];
        const equal = JSON.stringify(heldBy(a)) === JSON.stringify(heldBy(b));
        expect(Buffer.compare(a.root(), b.root()) === 0).toBe(equal);
      }),
    );
  });

  it.each([
    ['an item more', (digest: ItemDigest) => digest.set(new Uint8Array(16).fill(9), 0, 0)],
    ['an item less', (digest: ItemDigest) => digest.delete(numbered(5).key)],
    ['another epoch', (digest: ItemDigest) => digest.set(numbered(5).key, 2, 5)],
    ['another sequence', (digest: ItemDigest) => digest.set(numbered(5).key, 1, 6)],
  ])('finds the bucket of %s', (_name, change) => {
    const items = Array.from({ length: 100 }, (_, index) => numbered(index));
    const [ours, theirs] = [digestOf(items), digestOf(items)];
    change(theirs);
    const bitmap = ours.differingBuckets(theirs.buckets());
    expect(bitmap.reduce((bits, byte) => bits + byte.toString(2).replaceAll('0', '').length, 0)).toBe(1);
    expect(theirs.differingBuckets(ours.buckets())).toEqual(bitmap);
    const { send, want } = ours.compare(bitmap, theirs.entries(bitmap));
    expect(send.length + want.length).toBe(1);
  });

  it('does not keep the memory of a key that it was given', () => {
    const key = new Uint8Array(16).fill(3);
    const digest = digestOf([{ key, epoch: 1, sequence: 1 }]);
    const before = heldBy(digest);
    key.fill(4);
    expect(heldBy(digest)).toEqual(before);
  });

  it('is the same in every version of the program', () => {
    const digest = digestOf([numbered(1), numbered(2)]);
    expect(Buffer.from(digest.root()).toString('hex')).toBe('665d26138a3ba342');
    expect(Buffer.from(new ItemDigest().root()).toString('hex')).toBe('e5a00aa9991ac8a5');
  });

  it('forgets what it does not hold without a trace', () => {
    const digest = digestOf([numbered(1)]);
    const root = digest.root();
    digest.delete(numbered(2).key);
    expect(digest.root()).toEqual(root);
    expect(digest.size).toBe(1);
  });

  it('takes keys of 16 bytes only', () => {
    expect(thrownBy(() => new ItemDigest().set(new Uint8Array(15), 0, 0)).code).toBe('internal');
  });

  it('lists no more entries than fit into a message, and the rest next time', () => {
    const ours = digestOf(Array.from({ length: 1_000 }, (_, index) => numbered(index)));
    const theirs = new ItemDigest();
    let exchanges = 0;
    for (; theirs.size < ours.size; exchanges++) {
      const entries = ours.entries(ours.differingBuckets(theirs.buckets(), 300));
      expect(entries.length).toBeGreaterThan(0);
      expect(entries.length).toBeLessThanOrEqual(300);
      for (const { key, epoch, sequence } of entries) {
        theirs.set(key, epoch, sequence);
      }
    }
    expect(exchanges).toBe(4);
  });
});

describe('two sets', () => {
  it('are one after one exchange, with the newest version of everything', () => {
    fc.assert(
      fc.property(itemSets, itemSets, (one, other) => {
        const [a, b] = [digestOf(one), digestOf(other)];
        const newest = new Map<string, ItemVersion>();
        for (const item of [...one, ...other]) {
          const held = newest.get(keyText(item.key));
          if (
            !held ||
            item.epoch > held.epoch ||
            (item.epoch === held.epoch && item.sequence > held.sequence)
          ) {
            newest.set(keyText(item.key), item);
          }
        }
        exchange(a, b);
        expect(heldBy(a)).toEqual([...newest.values()].map(textOf).sort());
        expect(heldBy(b)).toEqual(heldBy(a));
        expect(a.root()).toEqual(b.root());
      }),
    );
  });

  it('of 1000 items with 3 differences tell each other so in less than 3 kB', () => {
    const items = Array.from({ length: 1_000 }, (_, index) => numbered(index));
    const [a, b] = [digestOf(items), digestOf(items)];
    a.delete(numbered(17).key);
    b.delete(numbered(400).key);
    b.set(numbered(800).key, 2, 0);
    const messages = exchange(a, b);
    const bytes = messages.reduce((sum, message) => sum + encodeMessage(message).length, 0);
    expect(bytes).toBeLessThan(3_000);
    expect(heldBy(a)).toEqual(heldBy(b));
  });

  it('that are equal tell each other so in 20 bytes', () => {
    const items = Array.from({ length: 1_000 }, (_, index) => numbered(index));
    const [message, ...more] = exchange(digestOf(items), digestOf(items));
    expect(more).toEqual([]);
    expect(encodeMessage(message ?? { type: 'unknown' }).length).toBeLessThan(20);
  });
});
