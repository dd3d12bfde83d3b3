import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeFrame, FrameReader, type InferFrame } from '../../../src/inference/frames.ts';
import { type ChatRequest, type InferenceRequest, plainOutput } from '../../../src/inference/request.ts';
import {
  type ReceivedRequest,
  RequestAssembler,
  requestToFrames,
} from '../../../src/inference/request-frames.ts';
import { frameLimits } from '../../../src/util/limits/inference.ts';
import { chunkSizes, chunksOf } from '../../support/chunks.ts';
import { requests } from '../../support/inference-arbitraries.ts';

const resumption = { resumeKey: new Uint8Array(frameLimits.resumeKeyBytes).fill(7), framesHeld: 0 };

const chatSaying = (text: string): ChatRequest => ({
  kind: 'chat',
  requestId: 'r',
  model: { name: 'demo' },
  priority: 'interactive',
  hops: 1,
  extra: {},
  messages: [{ role: 'user', content: [{ type: 'text', text }] }],
  sampling: {},
  output: plainOutput,
});
const chat = chatSaying('hello');

/** What an assembler makes of the frames. */
function assemble(frames: Iterable<InferFrame>): ReceivedRequest | undefined {
  const assembler = new RequestAssembler();
  let received: ReceivedRequest | undefined;
  for (const frame of frames) {
    received = assembler.add(frame);
  }
  return received;
}

/** The frames of a request whose body is this text. */
function framesWithBody(json: string): InferFrame[] {
  const bytes = new TextEncoder().encode(json);
  const [head] = requestToFrames(chat, resumption);
  return head?.type === 'head'
    ? [
        { type: 'head', head: { ...head.head, bodyBytes: bytes.length } },
        { type: 'body', bytes },
        { type: 'end' },
      ]
    : [];
}

describe('requestToFrames and RequestAssembler', () => {
  it('carry every valid request over bytes, however they are cut', () => {
    fc.assert(
      fc.property(requests, chunkSizes, (request, sizes) => {
        const bytes = Uint8Array.from(Buffer.concat(requestToFrames(request, resumption).map(encodeFrame)));
        const reader = new FrameReader();
        const assembler = new RequestAssembler();
        const received: ReceivedRequest[] = [];
        for (const chunk of chunksOf(bytes, sizes)) {
          reader.feed(chunk, (frame) => received.push(...[assembler.add(frame) ?? []].flat()));
        }
        reader.end();
        expect(received).toEqual([{ request, ...resumption }]);
      }),
    );
  });

  it('take an answer up without saying again what was asked', () => {
    const frames = requestToFrames(chat, { ...resumption, framesHeld: 3 });
    expect(frames.map(({ type }) => type)).toEqual(['head', 'end']);
    expect(assemble(frames)).toEqual({ ...resumption, framesHeld: 3 });
  });

  it('cut a large body into pieces', () => {
    const request = chatSaying('x'.repeat(600 * 1024));
    const frames = requestToFrames(request, resumption);
    expect(frames.map(({ type }) => type)).toEqual(['head', 'body', 'body', 'body', 'end']);
    expect(assemble(frames)?.request).toEqual(request);
  });

  it('refuse a body that is too large on both sides', () => {
    const tooLarge = expect.objectContaining({ code: 'body_too_large' });
    const request = chatSaying('x'.repeat(frameLimits.bodyBytes));
    expect(() => requestToFrames(request, resumption)).toThrow(tooLarge);
  });

  it('round what is left of a deadline up to a whole millisecond', () => {
    const [head] = requestToFrames({ ...chat, timeoutMs: 0.25 }, resumption);
    const sent: InferFrame[] = [];
    new FrameReader().feed(head === undefined ? new Uint8Array() : encodeFrame(head), (frame) =>
      sent.push(frame),
    );
    expect(sent).toMatchObject([{ head: { timeoutMs: 1 } }]);
  });
});

describe('RequestAssembler', () => {
  const [head, body, end] = requestToFrames(chat, resumption) as [InferFrame, InferFrame, InferFrame];
  const [takeUp] = requestToFrames(chat, { ...resumption, framesHeld: 1 }) as [InferFrame, InferFrame];

  it.each<[string, InferFrame[]]>([
    ['a body before the head', [body]],
    ['an end before the head', [end]],
    ['a second head', [head, head]],
    ['an event', [head, { type: 'event', event: { type: 'end' } }]],
    ['a cancel, which is not a part of a request', [head, { type: 'cancel' }]],
    ['an end before the body is whole', [head, end]],
    ['more body than announced', [head, body, body]],
    ['an empty body', [head, { type: 'body', bytes: new Uint8Array() }]],
    ['anything after the end', [head, body, end, end]],
    ['a body where an answer is taken up', [takeUp, body]],
    ['a body that is no JSON', framesWithBody('{"a":')],
    ['a body that is a list', framesWithBody('[]')],
    ['a body that nests too deep', framesWithBody(`{"a":${'['.repeat(200)}${']'.repeat(200)}}`)],
    ['a body that repeats a field of the head', framesWithBody('{"kind":"rerank"}')],
  ])('refuses %s', (_name, frames) => {
    expect(() => assemble(frames)).toThrow(expect.objectContaining({ code: 'frame_invalid' }));
  });

  it('refuses a body piece above its limit', () => {
    const bytes = new Uint8Array(frameLimits.bodyPieceBytes + 1);
    const large = requestToFrames(chatSaying('x'.repeat(600 * 1024)), resumption).slice(0, 1);
    expect(() => assemble([...large, { type: 'body', bytes }])).toThrow(
      expect.objectContaining({ code: 'frame_invalid' }),
    );
  });

  it('names the field of a request that is not valid', () => {
    const { messages: _, ...rest } = chat;
    const { requestId, model, kind, priority, hops, ...inBody } = {
      ...rest,
      messages: [],
    } satisfies InferenceRequest;
    expect(() => assemble(framesWithBody(JSON.stringify(inBody)))).toThrow(
      expect.objectContaining({ code: 'invalid_request', details: { param: 'messages' } }),
    );
  });
});
