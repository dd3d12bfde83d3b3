// Anti-entropy between two members: who has what the other lacks. Each message is answered by itself, nothing
// is remembered between them, so a lost one costs a round and no more.
import type { Envelope } from '../trust/envelope.ts';
import { meshLimits, meshMessageLimits } from '../util/limits/mesh.ts';
import type { Items } from './items.ts';
import type { MeshMessage } from './message.ts';
import { splitItems } from './message-codec.ts';

export type SyncMessage = Extract<MeshMessage, { type: 'digest' | 'buckets' | 'entries' | 'want' }>;

export function isSyncMessage(message: MeshMessage): message is SyncMessage {
  return ['digest', 'buckets', 'entries', 'want'].includes(message.type);
}

/** What opens an exchange. */
export function openSync(items: Items): MeshMessage {
  return { type: 'digest', root: items.digest.root(), items: items.size };
}

/** The answers to one message of an exchange. */
export function answerSync(items: Items, message: SyncMessage): MeshMessage[] {
  const { digest } = items;
  switch (message.type) {
    case 'digest':
      return Buffer.compare(message.root, digest.root()) === 0
        ? []
        : [{ type: 'buckets', hashes: digest.buckets() }];
    case 'buckets': {
      const buckets = digest.differingBuckets(message.hashes);
      return [{ type: 'entries', buckets, entries: digest.entries(buckets) }];
    }
    case 'entries': {
      const { send, want } = digest.compare(message.buckets, message.entries);
      return [...itemsOf(items, send), ...(want.length === 0 ? [] : [wanted(want)])];
    }
    case 'want':
      return itemsOf(items, message.keys);
  }
}

/** At most meshLimits.answerBytes of what is asked for: the next exchange brings the rest. */
function itemsOf(items: Items, keys: readonly Uint8Array[]): MeshMessage[] {
  const envelopes = new Set<Envelope>();
  let bytes = 0;
  for (const key of keys) {
    const envelope = items.get(key);
    if (envelope !== undefined && !envelopes.has(envelope)) {
      bytes += envelope.bytes.length;
      if (bytes > meshLimits.answerBytes) {
        break;
      }
      envelopes.add(envelope);
    }
  }
  // What proves standing goes before what needs it.
  const inOrder = [...envelopes].sort((a, b) => rank(a) - rank(b));
  return splitItems(inOrder.map(({ bytes }) => bytes));
}

function rank({ kind }: Envelope): number {
  return ['revocation', 'use', 'record', 'death'].indexOf(kind);
}

function wanted(keys: readonly Uint8Array[]): MeshMessage {
  return { type: 'want', keys: keys.slice(0, meshMessageLimits.want) };
}
