import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { DeltaEvent, InferenceEvent } from '../../../src/inference/events.ts';
import { decodeFrame, encodeFrame, FrameReader, type InferFrame } from '../../../src/inference/frames.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { eventLimits, frameLimits } from '../../../src/util/limits/inference.ts';
import { chunkSizes, chunksOf } from '../../support/chunks.ts';
import { frameFromJson } from '../../support/frame-json.ts';
import { events } from '../../support/inference-arbitraries.ts';

const frameInvalid = expect.objectContaining({ code: 'frame_invalid' });

/** Frames that a reader makes of the chunks. */
function read(chunks: Iterable<Uint8Array>): InferFrame[] {
  const reader = new FrameReader();
  const frames: InferFrame[] = [];
  for (const chunk of chunks) {
    reader.feed(chunk, (frame) => frames.push(frame));
  }
  reader.end();
  return frames;
}

const hex = (text: string) => Uint8Array.from(Buffer.from(text, 'hex'));
/** A message without the length before it; only for frames below 128 bytes. */
const message = (frame: InferFrame) => encodeFrame(frame).subarray(1);
const eventFrame = (event: InferenceEvent): InferFrame => ({ type: 'event', event });

interface TestVector {
  readonly name: string;
  readonly frame: unknown;
  readonly hex: string;
}

const vectors = (JSON.parse(readFileSync('test/fixtures/infer-frames.json', 'utf8')) as TestVector[]).map(
  (vector) => ({ ...vector, frame: frameFromJson(JSON.stringify(vector.frame)) }),
);

describe('test vectors of infer frames', () => {
  it.each(vectors)('$name: is written and read as the vector says', ({ frame, hex: bytes }) => {
    expect(Buffer.from(encodeFrame(frame)).toString('hex')).toBe(bytes);
    expect(read([hex(bytes)])).toEqual([frame]);
  });

  it('has every type of frame and of event', () => {
    const types = vectors.map(({ frame }) => (frame.type === 'event' ? frame.event.type : frame.type));
    expect([...new Set(types)].sort()).toEqual([
      'accepted',
      'body',
      'cancel',
      'delta',
      'end',
      'error',
      'finish',
      'head',
      'progress',
      'score',
      'usage',
      'vector',
    ]);
  });
});

describe('FrameReader', () => {
  it('reads every sequence of events that was written, however it is cut', () => {
    fc.assert(
      fc.property(fc.array(events, { maxLength: 6 }), chunkSizes, (sent, sizes) => {
        const frames = sent.map(eventFrame);
        const bytes = Uint8Array.from(Buffer.concat(frames.map(encodeFrame)));
        expect(read(chunksOf(bytes, sizes))).toEqual(frames);
        expect(read([bytes])).toEqual(frames);
      }),
    );
  });

  it('throws nothing but our errors at bytes that are nearly frames', () => {
    fc.assert(
      fc.property(
        events,
        fc.nat(),
        fc.integer({ min: 0, max: 255 }),
        fc.nat(3),
        (event, place, byte, cut) => {
          const spoilt = encodeFrame(eventFrame(event)).slice();
          spoilt[place % spoilt.length] = byte;
          try {
            read([spoilt.subarray(0, spoilt.length - cut)]);
          } catch (thrown) {
            expect(thrown).toBeInstanceOf(MeshnodeError);
            expect(thrown).toMatchObject({ code: expect.stringMatching(/^(frame_invalid|body_too_large)$/) });
          }
        },
      ),
      { numRuns: 1000 },
    );
  });

  it('throws nothing but our errors at random messages', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        try {
          decodeFrame(bytes);
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(MeshnodeError);
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('refuses a frame above the cap before its bytes come', () => {
    const length = frameLimits.frameBytes + 1;
    const announced = Uint8Array.of((length & 0x7f) | 0x80, ((length >> 7) & 0x7f) | 0x80, length >> 14);
    expect(() => read([announced])).toThrow(frameInvalid);
  });

  it('gives the frames before a broken one', () => {
    const frames: InferFrame[] = [];
    const bytes = Buffer.concat([encodeFrame({ type: 'cancel' }), Uint8Array.of(1, 0xff)]);
    expect(() => new FrameReader().feed(bytes, (frame) => frames.push(frame))).toThrow(frameInvalid);
    expect(frames).toEqual([{ type: 'cancel' }]);
  });
});

describe('decodeFrame', () => {
  it.each<[string, string, InferFrame]>([
    // Field 15 (varint 7) beside the frame's own, and within its message.
    ['in the frame', '22007807', { type: 'cancel' }],
    ['in the message', '22027807', { type: 'cancel' }],
    [
      'in an event, and in what it holds',
      '1a0a3a060801180278077807',
      { type: 'event', event: { type: 'usage', prompt: 1, cached: 0, completion: 2 } },
    ],
  ])('ignores an unknown field %s', (_name, bytes, frame) => {
    expect(decodeFrame(hex(bytes))).toEqual(frame);
  });

  it('takes an error code it does not know for engine_error, and keeps its message', () => {
    const known = message(
      eventFrame({
        type: 'error',
        code: 'engine_lost',
        message: 'tachyon leak',
        retryable: true,
        phase: 'before-output',
      }),
    );
    const unknown = Uint8Array.from(
      Buffer.from(Buffer.from(known).toString('latin1').replace('engine_lost', 'engine_l0st'), 'latin1'),
    );
    expect(decodeFrame(unknown)).toMatchObject({
      event: { type: 'error', code: 'engine_error', message: 'tachyon leak', retryable: true },
    });
  });

  it.each([
    ['nothing', '', /nothing that this version knows/],
    ['only unknown fields', '7807', /nothing that this version knows/],
    ['an event of nothing', '1a00', /no event that this version knows/],
    ['a finish without a reason', '1a023200', /enum value 0/],
    ['a finish with a reason of a later version', '1a0432021063', /enum value 99/],
    ['a vector of three bytes', '1a0722051203010203', /middle of a number/],
    ['text that is no UTF-8', '1a051a031201ff', /no protobuf/],
    ['extra that is no JSON', '1a051a033a017b', /broken JSON/],
    ['extra that is a list', '1a061a043a025b5d', /not an object/],
    ['a head with a short resume key', '0a034a0101', /resume key/],
    ['a group that never ends', '7b', /no protobuf/],
    ['a message cut short', '1a05', /no protobuf/],
  ])('refuses a frame of %s', (_name, bytes, reason) => {
    const refused = expect.objectContaining({
      code: 'frame_invalid',
      message: expect.stringMatching(reason),
    });
    expect(() => decodeFrame(hex(bytes))).toThrow(refused);
  });

  it('refuses a head that announces more than a body may have', () => {
    const head = Buffer.concat([hex('4a10'), new Uint8Array(16), hex('58ffffffff0f')]);
    const frame = Buffer.concat([Uint8Array.of(0x0a, head.length), head]);
    expect(() => decodeFrame(frame)).toThrow(expect.objectContaining({ code: 'body_too_large' }));
  });
});

describe('encodeFrame', () => {
  it('writes half of a surrogate pair as U+FFFD, because UTF-8 cannot carry it', () => {
    const cut: InferenceEvent = { type: 'delta', index: 0, text: 'a\ud83d' };
    expect(read([encodeFrame(eventFrame(cut))])).toEqual([eventFrame({ ...cut, text: 'a\ufffd' })]);
  });

  it('carries the longest vector and a whole body piece in one frame each', () => {
    const vector = eventFrame({
      type: 'vector',
      index: 2047,
      values: new Float32Array(eventLimits.vectorLength),
    });
    const body: InferFrame = { type: 'body', bytes: new Uint8Array(frameLimits.bodyPieceBytes) };
    expect(read([encodeFrame(vector), encodeFrame(body)])).toHaveLength(2);
  });

  it('refuses any other frame above the cap', () => {
    const data = { note: 'x'.repeat(frameLimits.frameBytes) };
    const error: InferenceEvent = {
      type: 'error',
      code: 'internal',
      message: '',
      retryable: false,
      phase: 'before-output',
      data,
    };
    expect(() => encodeFrame(eventFrame(error))).toThrow(expect.objectContaining({ code: 'internal' }));
  });

  it('writes a delta above the cap as several that say the same', () => {
    const chars = frameLimits.frameBytes;
    const logprob = { token: 'é', bytes: [195, 169], logprob: -1, top: [] };
    const large: DeltaEvent = {
      type: 'delta',
      index: 1,
      reasoning: '🙂'.repeat(chars / 2),
      text: 'ß'.repeat(chars),
      toolCall: { call: 0, id: 'a', name: 'f', arguments: 'x'.repeat(chars + 1) },
      tokenIds: new Array<number>(eventLimits.deltaTokens).fill(0xffff_ffff),
      logprobs: new Array<typeof logprob>(20_000).fill(logprob),
      extra: { note: 'kept' },
    };
    const pieces = read([encodeFrame(eventFrame(large))]).map((frame) => {
      expect(frame).toMatchObject({ type: 'event', event: { type: 'delta', index: 1 } });
      return frame.type === 'event' && frame.event.type === 'delta'
        ? frame.event
        : ({ type: 'delta', index: 1 } as const);
    });
    expect(pieces.map((piece) => piece.reasoning ?? '').join('')).toBe(large.reasoning);
    expect(pieces.map((piece) => piece.text ?? '').join('')).toBe(large.text);
    expect(pieces.map((piece) => piece.toolCall?.arguments ?? '').join('')).toBe(large.toolCall?.arguments);
    expect(pieces.filter((piece) => piece.toolCall?.id !== undefined)).toHaveLength(1);
    expect(pieces.flatMap((piece) => piece.tokenIds ?? [])).toEqual(large.tokenIds);
    expect(pieces.flatMap((piece) => piece.logprobs ?? [])).toEqual(large.logprobs);
    expect(pieces.flatMap((piece) => piece.extra ?? [])).toEqual([large.extra]);
    const lastText = pieces.findLastIndex((piece) => piece.text !== undefined);
    expect(pieces.findIndex((piece) => piece.tokenIds !== undefined)).toBeGreaterThan(lastText);
  });
});
