import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { MeshMessage } from '../../../src/mesh/message.ts';
import { encodeMessage, readMessage } from '../../../src/mesh/message-codec.ts';
import type { ModelLoad } from '../../../src/mesh/model-load.ts';
import { beatLimits, recordLimits } from '../../../src/util/limits/mesh.ts';
import { Message, type MessageMessage, type ModelLoadMessage } from '../../../src/wire/mesh-messages.ts';
import { peerIds } from '../../support/mesh-arbitraries.ts';
import { thrownBy } from '../../support/thrown.ts';

const { nonceBytes } = beatLimits;
const uint32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const nonces = fc.uint8Array({ minLength: nonceBytes, maxLength: nonceBytes });
const loads: fc.Arbitrary<ModelLoad[]> = fc.uniqueArray(
  fc.record({
    model: fc.stringMatching(/^[a-z0-9/:-]{1,30}$/),
    inFlight: uint32,
    queued: uint32,
    slots: uint32,
    tokensPerSecond: fc.float({ min: 0, noNaN: true, noDefaultInfinity: true }).map((value) => value + 0),
  }),
  { selector: ({ model }) => model, maxLength: beatLimits.loads },
);
const messages: fc.Arbitrary<MeshMessage> = fc.oneof(
  fc.record({ type: fc.constantFrom('beat' as const, 'beat-answer' as const), nonce: nonces, loads }),
  fc.record({ type: fc.constant('probe' as const), nonce: nonces, subject: peerIds }),
  fc.record({ type: fc.constant('probe-answer' as const), nonce: nonces }),
);

describe('a message of the heartbeat', () => {
  it('is read as it was written', () => {
    fc.assert(
      fc.property(messages, (message) => {
        expect(readMessage(new Uint8Array(encodeMessage(message)))).toEqual(message);
      }),
    );
  });

  it('keeps its nonce though the memory that it came in is used again', () => {
    const nonce = new Uint8Array(nonceBytes).fill(7);
    const bytes = new Uint8Array(encodeMessage({ type: 'beat', nonce, loads: [] }));
    const message = readMessage(bytes);
    bytes.fill(0);
    expect(message).toEqual({ type: 'beat', nonce, loads: [] });
  });

  it('fits into little even if it tells all that it may', () => {
    const names = Array.from({ length: beatLimits.loads }, (_, index) =>
      String(index).padStart(recordLimits.modelNameBytes, 'm'),
    );
    const most = 2 ** 32 - 1;
    const busy = names.map((model) => ({
      model,
      inFlight: most,
      queued: most,
      slots: most,
      tokensPerSecond: 1,
    }));
    const beat: MeshMessage = { type: 'beat', nonce: new Uint8Array(nonceBytes).fill(255), loads: busy };
    const bytes = new Uint8Array(encodeMessage(beat));
    expect(readMessage(bytes)).toEqual(beat);
    expect(bytes.length).toBeLessThan(10 * 1024);
  });
});

const nonce = new Uint8Array(nonceBytes).fill(1);
const load = { model: 'm', inFlight: 1 };
const withLoads = (...told: ModelLoadMessage[]): MessageMessage => ({ beat: { nonce, loads: told } });
const many = Array.from({ length: beatLimits.loads + 1 }, (_, index) => ({ model: `m${index}` }));

/** Which field is named, and the message that lies about it. */
const lies: [field: string, why: string, lie: MessageMessage][] = [
  ['nonce', 'is missing', { beat: {} }],
  ['nonce', 'is too short', { beat: { nonce: nonce.subarray(1) } }],
  ['nonce', 'is too long', { beat: { nonce: new Uint8Array(nonceBytes + 1) } }],
  ['nonce', 'is missing', { beatAnswer: { loads: [load] } }],
  ['nonce', 'is missing', { probe: { peerKey: new Uint8Array(32) } }],
  ['nonce', 'is missing', { probeAnswer: {} }],
  ['nonce', 'is too long', { probeAnswer: { nonce: new Uint8Array(nonceBytes + 1) } }],
  ['subject', 'is missing', { probe: { nonce } }],
  ['subject', 'is too short', { probe: { nonce, peerKey: new Uint8Array(31) } }],
  ['loads', 'are too many', withLoads(...many)],
  ['loads', 'are too many', { beatAnswer: { nonce, loads: many } }],
  ['loads[1]', 'is there twice', withLoads(load, load)],
  ['loads[0].model', 'is missing', withLoads({ inFlight: 1 })],
  ['loads[0].model', 'is too long', withLoads({ model: 'm'.repeat(recordLimits.modelNameBytes + 1) })],
  ['loads[0].model', 'cannot be shown', withLoads({ model: 'm\u001b[31m' })],
  ['loads[1].tokensPerSecond', 'is below 0', withLoads(load, { model: 'n', tokensPerSecond: -1 })],
  ['loads[0].tokensPerSecond', 'is no number', withLoads({ model: 'n', tokensPerSecond: Number.NaN })],
  [
    'loads[0].tokensPerSecond',
    'is endless',
    withLoads({ model: 'n', tokensPerSecond: Number.POSITIVE_INFINITY }),
  ],
];

describe('a message of the heartbeat is refused', () => {
  it.each(lies)('by %s if it %s', (field, _why, lie) => {
    const error = thrownBy(() => readMessage(new Uint8Array(Message.encode(lie).finish())));
    expect(error).toMatchObject({ code: 'frame_invalid', details: { data: { field } } });
    expect(error.message).toContain(field);
  });
});
