// Members that misuse requests, on QUIC and on TCP: as the node that is asked they answer wrongly, too much, too late or
// not at all; as the node that asks they flood. Whoever asked is told so, and nobody else in the mesh notices.
import OpenAI from 'openai';
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import type { InferenceEvent } from '../../src/inference/events.ts';
import { encodeFrame, type InferFrame } from '../../src/inference/frames.ts';
import { type ChatRequest, plainOutput } from '../../src/inference/request.ts';
import type { RecordModel } from '../../src/mesh/record.ts';
import { type Issuer, issueCertificate } from '../../src/trust/certificate.ts';
import { protocols } from '../../src/trust/gate.ts';
import { inferLimits } from '../../src/util/limits/dispatch.ts';
import { watched } from '../support/attack-watch.ts';
import { recordOf, sealRecord } from '../support/forged-records.ts';
import {
  type AdmittedPeer,
  type HostileLink,
  HostilePeer,
  inTime,
  keepAlive,
  say,
} from '../support/hostile-peer.ts';
import { RawEnd } from '../support/infer-raw.ts';
import { MeshProcess, type Path } from '../support/mesh-process.ts';
import { probed } from '../support/node-probe.ts';

const paths: readonly Path[] = ['quic', 'tcp'];
/** Longest time in which a client is told of an answer that went wrong at once. */
const toldMs = 5_000;

let victim: MeshProcess;
let witness: MeshProcess;
let meshKey: Issuer;
/** Members that come and go. */
const strangers = new Set<string>();

beforeAll(async () => {
  victim = await probed(() => MeshProcess.started('ada', '--model', 'demo', '--threads', '1'));
  const { token } = await victim.process.event('invite');
  witness = await MeshProcess.started('bee', '--join', String(token));
  await Promise.all([victim.shows([witness]), witness.shows([victim])]);
  // What the record of the victim says of its model changes until then, without any attack.
  await vi.waitFor(
    async () => {
      const [row] = await witness.table();
      expect(row?.models).toMatchObject([{ state: 'ready', digest: expect.any(String) }]);
    },
    { timeout: 10_000, interval: 50 },
  );
  meshKey = await victim.meshIssuer();
});

afterEach(async () => {
  const { status } = await fetch(`${apiOf(victim)}/models`);
  expect(status).toBe(200);
});

afterAll(async () => {
  await Promise.all([victim?.discard(), witness?.discard()]);
});

function apiOf(node: MeshProcess): string {
  return node.client.card.apiUrl ?? '';
}

function clientOf(node: MeshProcess): OpenAI {
  return new OpenAI({ baseURL: apiOf(node), apiKey: 'any', maxRetries: 0 });
}

/** A member that is linked to the victim and answers its beats. */
async function member(path: Path): Promise<AdmittedPeer> {
  const peer = await HostilePeer.start(path);
  onTestFinished(() => peer.stop());
  strangers.add(peer.peerId);
  let link: HostileLink | undefined;
  await keepAlive(peer, () => link);
  const certificate = certify(peer);
  const admitted = await peer.enter(victim.address(path), certificate);
  link = admitted.link;
  return admitted;
}

function certify({ key }: HostilePeer) {
  return issueCertificate({ issuer: meshKey, peerKey: key.publicKey, role: 'serve', nowMs: Date.now() });
}

/** As a member that serves a model which is answered as the test says. Resolves once the victim lists it. */
async function lure(path: Path, name: string, answer: (end: RawEnd) => Promise<void>): Promise<AdmittedPeer> {
  const admitted = await member(path);
  await admitted.peer.serve(protocols.infer, async (stream) => {
    const end = new RawEnd(stream);
    await end.request();
    await answer(end);
  });
  const model: RecordModel = {
    ...{ name, digest: undefined, attached: false, state: 'ready', kind: 'chat', sizeBytes: 1 },
    ...{ contextTokens: 4096, slots: 64, architecture: undefined, quantisation: undefined },
    abilities: ['chat', 'completion'],
  };
  const record = recordOf(certify(admitted.peer), { models: [model] });
  await say(admitted.gossip, {
    type: 'items',
    envelopes: [sealRecord(record, meshKey.meshId, admitted.peer.key)],
  });
  await expect
    .poll(async () => (await (await fetch(`${apiOf(victim)}/models`)).text()).includes(name), {
      timeout: 5_000,
    })
    .toBe(true);
  return admitted;
}

const accepted: InferenceEvent = { type: 'accepted', replica: 'lure' };
const word: InferenceEvent = { type: 'delta', index: 0, text: 'word ' };
const finish: InferenceEvent = { type: 'finish', index: 0, reason: 'stop' };
const end: InferenceEvent = { type: 'end' };
const usage: InferenceEvent = { type: 'usage', prompt: 1, cached: 0, completion: 1 };

/** What a streaming client of the victim gets: its text, and how it ended. */
async function askFor(
  model: string,
  options: { readonly signal?: AbortSignal } = {},
  onText: () => void = () => {},
): Promise<{ text: string; error: unknown }> {
  let text = '';
  try {
    const stream = await clientOf(victim).chat.completions.create(
      { model, stream: true, messages: [{ role: 'user', content: 'Say something.' }] },
      options,
    );
    for await (const { choices } of stream) {
      text += choices[0]?.delta.content ?? '';
      if (text !== '') {
        onText();
      }
    }
    return { text, error: undefined };
  } catch (error) {
    return { text, error };
  }
}

const underWatch = <T>(attack: () => Promise<T>): Promise<T> =>
  watched({ victim, witness }, attack, { except: strangers });

/** What is sent as an answer, and what the client has of it before it is told. */
const wrongAnswers: readonly [
  what: string,
  events: readonly (InferenceEvent | Uint8Array)[],
  text: string,
][] = [
  ['a word before it has accepted', [word, finish, end], ''],
  ['an end in the middle', [accepted, word, end], 'word '],
  ['words after the choice is complete', [accepted, word, finish, word, end], 'word '],
  ['a vector', [accepted, { type: 'vector', index: 0, values: new Float32Array([1]) }, end], ''],
  ['a choice that nobody asked for', [accepted, { type: 'delta', index: 7, text: 'x' }, end], ''],
  ['two usages', [accepted, word, finish, usage, usage, end], 'word '],
  ['more cached than prompt', [accepted, word, finish, { ...usage, cached: 9 }, end], 'word '],
  ['a usage of 10^12 tokens', [accepted, word, finish, hugeUsage()], 'word '],
  ['a cancel', [accepted, word, encodeFrame({ type: 'cancel' })], 'word '],
  ['a head', [accepted, word, encodeFrame(headFrame())], 'word '],
  ['rubbish', [accepted, word, new Uint8Array(64).fill(0xff)], 'word '],
  ['half a frame', [accepted, word, encodeFrame({ type: 'event', event: word }).subarray(0, 4)], 'word '],
  ['an empty name for who answers', [{ type: 'accepted', replica: '' }, word, finish, end], ''],
];

/** A usage event whose completion is 10^12 as a varint. */
function hugeUsage(): Uint8Array {
  const varint = [0x80, 0xa0, 0x94, 0xa5, 0x8d, 0x1d];
  const message = [0x08, 1, 0x18, ...varint];
  const event = [0x3a, message.length, ...message];
  const frame = [0x1a, event.length, ...event];
  return Uint8Array.of(frame.length, ...frame);
}

function headFrame(): InferFrame {
  return {
    type: 'head',
    head: {
      ...{ requestId: 'r', model: { name: 'demo' }, kind: 'chat', priority: 'interactive', hops: 1 },
      ...{ resumeKey: new Uint8Array(16), framesHeld: 0, bodyBytes: 0 },
    },
  };
}

describe.each(paths)('a member that is asked over %s', (path) => {
  it.each(wrongAnswers)('and sends %s, is told on, and the client is not fooled', (what, events, text) =>
    underWatch(async () => {
      const name = `lure-${path}-${what.replaceAll(' ', '-')}`;
      const { link } = await lure(path, name, async (peer) => {
        for (const event of events) {
          await (event instanceof Uint8Array ? peer.stream.write(event) : peer.sendEvents(event));
        }
        await peer.stream.end();
      });
      const answer = await inTime(askFor(name), 'for the client to be told', toldMs);
      expect(answer.text).toBe(text);
      expect(answer.error).toBeInstanceOf(Error);
      link.close();
    }),
  );

  it('and answers with events after the end, gives no more than the answer', () =>
    underWatch(async () => {
      const name = `after-${path}`;
      const { link } = await lure(path, name, async (peer) => {
        await peer.sendEvents(accepted, word, finish, usage, end);
        for (let more = 0; more < 1_000; more++) {
          await peer.sendEvents(word, end);
        }
      });
      // What comes with the end tells at once that something is wrong; what comes later is not waited for.
      expect((await inTime(askFor(name), 'to be answered', toldMs)).text).toBe('word ');
      link.close();
    }));

  it('and never answers, keeps nobody who hangs up', () =>
    underWatch(async () => {
      const name = `silent-${path}`;
      const cancelled = Promise.withResolvers<InferFrame | undefined>();
      const { link } = await lure(path, name, async (peer) => {
        await peer.sendEvents(accepted);
        peer.frame().then(cancelled.resolve, cancelled.reject);
        await cancelled.promise;
        // Too late: nobody reads it.
        await peer.sendEvents(word, finish, end).catch(() => {});
      });
      const caller = new AbortController();
      const answer = askFor(name, { signal: caller.signal });
      setTimeout(() => caller.abort(), 300);
      expect((await inTime(answer, 'to hang up', toldMs)).text).toBe('');
      expect((await inTime(cancelled.promise, 'to be told of the cancel', 1_500))?.type).toBe('cancel');
      link.close();
    }));

  it('and sends a megabyte of progress, is borne, and then answers', () =>
    underWatch(async () => {
      const name = `progress-${path}`;
      const { link } = await lure(path, name, async (peer) => {
        const progress = encodeFrame({
          type: 'event',
          event: { type: 'progress', stage: 'prefill', fraction: 0.5 },
        });
        const many = Buffer.concat(
          Array.from({ length: Math.ceil(2 ** 20 / progress.length) }, () => progress),
        );
        await peer.stream.write(many);
        await peer.sendEvents(accepted, word, finish, usage, end);
      });
      expect(await inTime(askFor(name), 'to be answered', toldMs)).toEqual({
        text: 'word ',
        error: undefined,
      });
      link.close();
    }));

  it('and vanishes in the middle, is told on', () =>
    underWatch(async () => {
      const name = `vanish-${path}`;
      const heard = Promise.withResolvers<void>();
      const { link } = await lure(path, name, async (peer) => {
        await peer.sendEvents(accepted, word);
        await heard.promise;
        link.close();
      });
      const answer = await inTime(askFor(name, {}, heard.resolve), 'for the client to be told', 10_000);
      expect(answer.text).toBe('word ');
      expect(answer.error).toBeInstanceOf(Error);
    }));
});

const chat: ChatRequest = {
  ...{ kind: 'chat', requestId: 'r', model: { name: 'demo' }, priority: 'interactive', hops: 1, extra: {} },
  messages: [{ role: 'user', content: [{ type: 'text', text: 'What is the capital of France?' }] }],
  ...{ sampling: { temperature: 0 }, output: { ...plainOutput, maxTokens: 4 } },
};

describe.each(paths)('a member that asks over %s', (path) => {
  it('and floods with requests, is refused beyond its share, and the owner is answered meanwhile', () =>
    underWatch(async () => {
      const { link } = await member(path);
      const ends = { answered: 0, refused: 0, cut: 0 };
      const flood = Array.from({ length: 3 * inferLimits.answersPerPeer }, async (_, key) => {
        try {
          const asking = new RawEnd(await link.open(protocols.infer));
          await asking.ask(key % 256, 0, { ...chat, requestId: `r${key}` });
          const last = (await asking.events()).at(-1);
          ends[last?.type === 'end' ? 'answered' : 'refused']++;
          // QUIC lets only so many be open at once, and the flood is to be one.
          await asking.stream.end();
        } catch {
          ends.cut++;
        }
      });
      const own = await inTime(
        clientOf(victim).chat.completions.create({
          model: 'demo',
          messages: [{ role: 'user', content: 'What is the capital of France?' }],
        }),
        'for the owner to be answered',
        10_000,
      );
      expect(own.choices[0]?.message.content).toContain('Paris');
      await inTime(Promise.all(flood), 'for the flood to be over', 30_000);
      // Some are told to come later, or the link is cut for so many streams at once.
      expect(ends.refused + ends.cut).toBeGreaterThan(0);
      link.close();
    }));

  it('and vanishes between head and body, or sends half of either, leaves nothing behind', () =>
    underWatch(async () => {
      const { link } = await member(path);
      const head = encodeFrame({
        type: 'head',
        head: {
          ...{ requestId: 'r', model: { name: 'demo' }, kind: 'chat', priority: 'interactive', hops: 1 },
          ...{ resumeKey: new Uint8Array(16), framesHeld: 0, bodyBytes: 1_000_000 },
        },
      });
      for (const bytes of [
        head,
        head.subarray(0, 5),
        Buffer.concat([head, encodeFrame(bodyFrame()).subarray(0, 9)]),
      ]) {
        const streams = await Promise.all(Array.from({ length: 16 }, () => link.open(protocols.infer)));
        await Promise.all(streams.map((stream) => stream.write(bytes)));
        for (const stream of streams) {
          stream.abort(new Error('gone'));
        }
      }
      link.close();
    }));

  it('and asks for a model of another node, is not passed on for ever', () =>
    underWatch(async () => {
      const { link } = await member(path);
      const asking = new RawEnd(await link.open(protocols.infer));
      await asking.ask(1, 0, { ...chat, model: { name: 'nobody has this' }, hops: 2 });
      expect(await asking.events()).toEqual([expect.objectContaining({ code: 'model_not_found' })]);
      link.close();
    }));
});

function bodyFrame(): InferFrame {
  return { type: 'body', bytes: new Uint8Array(1_000) };
}
