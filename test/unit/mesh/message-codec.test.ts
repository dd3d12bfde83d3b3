import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { MeshMessage } from '../../../src/mesh/message.ts';
import { encodeMessage, readMessage, splitItems } from '../../../src/mesh/message-codec.ts';
import { peerIdOf } from '../../../src/trust/keys.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { meshMessageLimits as limits } from '../../../src/util/limits/mesh.ts';
import { trustLimits } from '../../../src/util/limits/trust.ts';
import { Message, type MessageMessage } from '../../../src/wire/mesh-messages.ts';
import { meshMessages } from '../../support/mesh-arbitraries.ts';
import { meshVectors } from '../../support/mesh-vectors.ts';
import { thrownBy } from '../../support/thrown.ts';

const written = (message: MeshMessage) => new Uint8Array(encodeMessage(message));
const bytesOf = (message: MessageMessage) => new Uint8Array(Message.encode(message).finish());
const times = <T>(count: number, make: (index: number) => T) =>
  Array.from({ length: count }, (_, i) => make(i));
const key = (byte: number, length = 32) => new Uint8Array(length).fill(byte);
const byte = Uint8Array.of(1);

/** Reads, and fails at anything thrown that is no refusal. */
function readOrRefuse(bytes: Uint8Array): MeshMessage | undefined {
  try {
    return readMessage(bytes);
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(MeshnodeError);
    expect(thrown).toMatchObject({ code: 'frame_invalid' });
    return undefined;
  }
}

describe('test vectors of mesh messages', () => {
  const { messages } = meshVectors();

  it.each(messages)('$name: is written and read as the vector says', ({ message, bytes }) => {
    expect(Buffer.from(encodeMessage(message)).toString('hex')).toBe(Buffer.from(bytes).toString('hex'));
    expect(readMessage(bytes)).toEqual(message);
  });

  it('has every type of message', () => {
    expect([...new Set(messages.map(({ message }) => message.type))].sort()).toEqual([
      'admitted',
      'beat',
      'beat-answer',
      'buckets',
      'digest',
      'entries',
      'hello',
      'items',
      'probe',
      'probe-answer',
      'refused',
      'renewal',
      'want',
    ]);
  });
});

describe('a mesh message', () => {
  it('is read as it was written', () => {
    fc.assert(
      fc.property(meshMessages, (message) => {
        expect(readMessage(written(message))).toEqual(message);
      }),
    );
  });

  it.each([
    ['nothing', []],
    ['another message', [0xa2, 0x06, 0x02, 0x08, 0x01]],
  ])('of a later version that holds %s is unknown', (_name, bytes) => {
    expect(readMessage(Uint8Array.from(bytes))).toEqual({ type: 'unknown' });
  });

  it('may have fields that this version does not know', () => {
    const digest: MeshMessage = { type: 'digest', root: key(1, 8), items: 3 };
    const bytes = written(digest);
    // Field 100 as a varint: within the digest, and beside it.
    const later = [0xa0, 0x06, 0x05];
    const [tag = 0, length = 0, ...rest] = bytes;
    expect(readMessage(Uint8Array.from([tag, length + 3, ...rest, ...later, ...later]))).toEqual(digest);
  });

  it('tells a refusal in words that can be shown, however long they were', () => {
    const said = `One\nand ${'ä'.repeat(limits.textBytes)}`;
    const refused: MeshMessage = { type: 'refused', code: 'mesh_mismatch', message: said, proofs: [] };
    const read = readMessage(written(refused));
    expect(read).toEqual({
      type: 'refused',
      code: 'mesh_mismatch',
      message: `One and ${'ä'.repeat((limits.textBytes - 8) / 2)}`,
      proofs: [],
    });
  });

  it('is not written if it is too large or of no type', () => {
    const large: MeshMessage = { type: 'items', envelopes: times(32, () => new Uint8Array(33 * 1024)) };
    expect(thrownBy(() => encodeMessage(large)).code).toBe('internal');
    expect(thrownBy(() => encodeMessage({ type: 'unknown' })).code).toBe('internal');
  });

  it('fits with as many entries or wanted keys as are allowed', () => {
    const entry = { key: key(255, 16), epoch: 2 ** 53 - 1, sequence: 2 ** 53 - 1 };
    const entries: MeshMessage = {
      type: 'entries',
      buckets: key(255),
      entries: times(limits.entries, () => entry),
    };
    const want: MeshMessage = { type: 'want', keys: times(limits.want, () => key(7, 16)) };
    for (const message of [entries, want]) {
      expect(readMessage(written(message))).toEqual(message);
    }
  });
});

const hello = { protocol: 1, mesh: key(1), certificate: byte, clockMs: 1 };
const peer = (index: number) => ({ peerKey: key(index) });
const long = new Uint8Array(trustLimits.envelopeBytes + 1);
const entry = { key: key(1, 16), epoch: 1, sequence: 1 };

/** Which field is named, and the message that lies about it. */
const lies: [field: string, why: string, lie: MessageMessage][] = [
  ['meshId', 'is missing', { hello: { ...hello, mesh: null } }],
  ['meshId', 'is too short', { hello: { ...hello, mesh: key(1, 31) } }],
  ['certificate', 'is missing', { hello: { ...hello, certificate: null } }],
  [
    'certificate',
    'is too long',
    { hello: { ...hello, certificate: key(1, trustLimits.certificateBytes + 1) } },
  ],
  ['clockMs', 'is not exact', { hello: { ...hello, clockMs: 2 ** 53 } }],
  ['proofs', 'are too many', { hello: { ...hello, proofs: times(trustLimits.proofs + 1, () => byte) } }],
  ['proofs[1]', 'is empty', { hello: { ...hello, proofs: [byte, new Uint8Array()] } }],
  ['proofs[0]', 'is too long', { hello: { ...hello, proofs: [key(1, trustLimits.proofBytes + 1)] } }],
  ['proofs', 'are too many', { admitted: { proofs: times(trustLimits.proofs + 1, () => byte) } }],
  ['yourRecord', 'is too long', { admitted: { yourRecord: long } }],
  ['peers', 'are too many', { admitted: { peers: times(limits.peers + 1, peer) } }],
  ['peers[1]', 'is there twice', { admitted: { peers: [peer(1), peer(1)] } }],
  ['peers[0].peerId', 'is missing', { admitted: { peers: [{}] } }],
  ['peers[0].addresses[0]', 'is none', { admitted: { peers: [{ ...peer(1), addresses: ['here'] }] } }],
  ['clockMs', 'is not exact', { admitted: { clockMs: 2 ** 60 } }],
  ['code', 'is missing', { refused: {} }],
  ['code', 'is no word', { refused: { code: 'Not a code' } }],
  ['code', 'ends in a line', { refused: { code: 'code\n' } }],
  ['code', 'is too long', { refused: { code: 'a'.repeat(41) } }],
  ['message', 'cannot be shown', { refused: { code: 'a', message: '\u001b[31m' } }],
  ['message', 'is too long', { refused: { code: 'a', message: 'a'.repeat(limits.textBytes + 1) } }],
  ['proofs', 'are too many', { refused: { code: 'a', proofs: times(trustLimits.proofs + 1, () => byte) } }],
  ['root', 'is missing', { digest: {} }],
  ['root', 'is too long', { digest: { root: key(1, 9) } }],
  ['hashes', 'is missing', { buckets: {} }],
  ['hashes', 'is too short', { buckets: { hashes: key(1, 2047) } }],
  ['buckets', 'is too short', { entries: { buckets: key(1, 31) } }],
  [
    'entries',
    'are too many',
    { entries: { buckets: key(1), entries: times(limits.entries + 1, () => ({})) } },
  ],
  [
    'entries[0].key',
    'is too long',
    { entries: { buckets: key(1), entries: [{ ...entry, key: key(1, 17) }] } },
  ],
  ['entries[1].epoch', 'is not exact', { entries: { entries: [entry, { ...entry, epoch: 2 ** 53 }] } }],
  ['entries[0].sequence', 'is not exact', { entries: { entries: [{ ...entry, sequence: 2 ** 53 }] } }],
  ['keys', 'ends within a key', { want: { keys: key(1, 17) } }],
  ['keys', 'are too many', { want: { keys: key(1, 16 * (limits.want + 1)) } }],
  ['envelopes', 'are too many', { items: { envelopes: times(limits.items + 1, () => byte) } }],
  ['envelopes[0]', 'is empty', { items: { envelopes: [new Uint8Array()] } }],
  ['envelopes[1]', 'is too long', { items: { envelopes: [byte, long] } }],
];

describe('a mesh message is refused', () => {
  it.each(lies)('by %s if it %s', (field, _why, lie) => {
    const error = thrownBy(() => readMessage(bytesOf(lie)));
    expect(error).toMatchObject({ code: 'frame_invalid', details: { data: { field } } });
    expect(error.message).toContain(field);
  });

  it('by its length, before a look inside', () => {
    const error = thrownBy(() => readMessage(new Uint8Array(limits.messageBytes + 1).fill(0xff)));
    expect(error.details.data).toEqual({ field: 'message' });
  });
});

describe('broken bytes', () => {
  const messages = meshVectors().messages.map(({ bytes }) => bytes);

  it('are refused or read at every place where a message can be cut', () => {
    for (const bytes of messages) {
      for (let length = 0; length < bytes.length; length++) {
        readOrRefuse(bytes.subarray(0, length));
      }
    }
    // All but the empty message, which is one of nothing, end within the message that they hold.
    expect(readOrRefuse(new Uint8Array())).toEqual({ type: 'unknown' });
    expect(readOrRefuse(messages[0]?.subarray(0, -1) ?? byte)).toBeUndefined();
  });

  it('are refused or read with any byte changed', () => {
    const change = fc.record({ bytes: fc.constantFrom(...messages), at: fc.nat(), to: fc.nat({ max: 255 }) });
    fc.assert(
      fc.property(change, ({ bytes, at, to }) => {
        const spoilt = bytes.slice();
        spoilt[at % spoilt.length] = to;
        readOrRefuse(spoilt);
      }),
      { numRuns: 1000 },
    );
  });

  it('are refused or read if they are random', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        readOrRefuse(bytes);
      }),
      { numRuns: 1000 },
    );
  });

  it.each([
    ['admitted', 0x12, 0x1a],
    ['entries', 0x32, 0x12],
    ['items', 0x42, 0x0a],
  ])('take little time even if they are %s with half a million empty elements', (_name, tag, element) => {
    const elements = new Uint8Array(limits.messageBytes - 4);
    for (let index = 0; index < elements.length; index += 2) {
      elements[index] = element;
    }
    const { length } = elements;
    const header = [tag, (length & 0x7f) | 0x80, ((length >> 7) & 0x7f) | 0x80, length >> 14];
    const start = performance.now();
    expect(readOrRefuse(Uint8Array.from(Buffer.concat([Uint8Array.from(header), elements])))).toBeUndefined();
    expect(performance.now() - start).toBeLessThan(2_000);
  });
});

describe('splitItems', () => {
  it('packs all envelopes in order, no message above its bounds', () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 400 }), { maxLength: 40 });
    fc.assert(
      fc.property(sizes, fc.integer({ min: 410, max: 2_000 }), (lengths, mostBytes) => {
        const envelopes = lengths.map((length, index) => new Uint8Array(length).fill(index));
        const messages = splitItems(envelopes, mostBytes);
        expect(messages.flatMap((message) => message.envelopes)).toEqual(envelopes);
        for (const message of messages) {
          expect(encodeMessage(message).length).toBeLessThanOrEqual(mostBytes);
        }
      }),
    );
  });

  it('makes no message of nothing, and few of much', () => {
    expect(splitItems([])).toEqual([]);
    expect(splitItems(times(limits.items + 1, () => byte)).map(({ envelopes }) => envelopes.length)).toEqual([
      limits.items,
      1,
    ]);
    const largest = times(64, () => new Uint8Array(trustLimits.envelopeBytes));
    expect(splitItems(largest).length).toBe(5);
  });

  it('does not take an envelope that no message holds', () => {
    expect(thrownBy(() => splitItems([new Uint8Array(100)], 100)).code).toBe('internal');
  });
});

it('peers are told by their names', () => {
  const message = readMessage(bytesOf({ admitted: { peers: [{ peerKey: key(4) }] } }));
  expect(message).toMatchObject({ peers: [{ peerId: peerIdOf(key(4)), addresses: [] }] });
});
