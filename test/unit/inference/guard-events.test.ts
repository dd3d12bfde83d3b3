import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import type { InferenceEvent } from '../../../src/inference/events.ts';
import { guardEvents } from '../../../src/inference/guard-events.ts';
import { type ChatRequest, plainOutput } from '../../../src/inference/request.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { eventLimits } from '../../../src/util/limits/inference.ts';
import { silentLogger } from '../../../src/util/logging.ts';
import { lawfulAnswers } from '../../support/inference-arbitraries.ts';

const chat: ChatRequest = {
  kind: 'chat',
  requestId: 'r',
  model: { name: 'demo' },
  priority: 'interactive',
  hops: 0,
  extra: {},
  messages: [],
  sampling: {},
  output: plainOutput,
};
const accepted: InferenceEvent = { type: 'accepted', replica: 'demo' };
const text: InferenceEvent = { type: 'delta', index: 0, text: 'a' };
const finish: InferenceEvent = { type: 'finish', index: 0, reason: 'stop' };
const end: InferenceEvent = { type: 'end' };
const queued: InferenceEvent = { type: 'progress', stage: 'queued' };
const lost: InferenceEvent = {
  type: 'error',
  code: 'engine_lost',
  message: 'gone',
  retryable: true,
  phase: 'before-output',
};

/** A source that gives `events`, then what `after` does, and counts what is done to it. */
class Source implements AsyncIterable<InferenceEvent> {
  reads = 0;
  closed = 0;
  readonly #events: Iterator<InferenceEvent>;
  readonly #after: () => void;
  readonly #onClose: () => void;

  constructor(events: Iterable<InferenceEvent>, after = () => {}, onClose = () => {}) {
    this.#events = events[Symbol.iterator]();
    this.#after = after;
    this.#onClose = onClose;
  }

  [Symbol.asyncIterator](): AsyncIterator<InferenceEvent> {
    return {
      next: async () => {
        this.reads++;
        const next = this.#events.next();
        if (next.done) {
          this.#after();
        }
        return next;
      },
      return: async () => {
        this.closed++;
        this.#onClose();
        return { done: true, value: undefined };
      },
    };
  }
}

const guarded = (source: AsyncIterable<InferenceEvent>) => guardEvents(chat, source, { log: silentLogger });

async function collect(answer: AsyncIterable<InferenceEvent>): Promise<InferenceEvent[]> {
  const given: InferenceEvent[] = [];
  for await (const event of answer) {
    given.push(event);
  }
  return given;
}

describe('guardEvents', () => {
  it('passes every lawful answer on as it is', async () => {
    await fc.assert(
      fc.asyncProperty(lawfulAnswers, async ({ request, events }) => {
        const source = new Source(events);
        const guard = guardEvents(request, source, { log: silentLogger });
        expect(await collect(guard)).toEqual(events);
        expect(source).toMatchObject({ closed: 1, reads: events.length });
      }),
    );
  });

  it('gives exactly one error as the last event of any sequence of events', async () => {
    await fc.assert(
      fc.asyncProperty(lawfulAnswers, lawfulAnswers, async ({ request }, { events }) => {
        const given = await collect(guardEvents(request, new Source(events), { log: silentLogger }));
        const last = given.findIndex(({ type }) => type === 'end' || type === 'error');
        expect(last).toBe(given.length - 1);
      }),
    );
  });

  it('turns a violation into engine_protocol, closes the source and reads no more', async () => {
    const source = new Source([accepted, text, accepted, finish, end]);
    expect(await collect(guarded(source))).toEqual([
      accepted,
      text,
      expect.objectContaining({ type: 'error', code: 'engine_protocol', phase: 'during-output' }),
    ]);
    expect(source).toMatchObject({ closed: 1, reads: 3 });
  });

  it('turns a source that stops without an end into engine_protocol', async () => {
    expect(await collect(guarded(new Source([accepted])))).toEqual([
      accepted,
      expect.objectContaining({ type: 'error', code: 'engine_protocol', phase: 'before-output' }),
    ]);
  });

  it('passes a thrown error of ours on', async () => {
    const source = new Source([accepted, text], () => {
      throw new MeshnodeError('engine_timeout', 'It took too long.');
    });
    expect((await collect(guarded(source))).at(-1)).toMatchObject({
      code: 'engine_timeout',
      message: 'It took too long.',
      phase: 'during-output',
    });
  });

  it('keeps the text of a foreign error to the log', async () => {
    const warn = vi.fn();
    const source = new Source([], () => {
      throw new Error('/home/someone/secret');
    });
    const given = await collect(guardEvents(chat, source, { log: { ...silentLogger, warn } }));
    expect(given).toEqual([expect.objectContaining({ type: 'error', code: 'engine_protocol' })]);
    expect(JSON.stringify(given)).not.toContain('secret');
    expect(warn).toHaveBeenCalledOnce();
  });

  it('survives a source that cannot even be opened', async () => {
    const source: AsyncIterable<InferenceEvent> = {
      [Symbol.asyncIterator]: () => {
        throw new MeshnodeError('engine_unavailable', 'Not now.');
      },
    };
    expect(await collect(guarded(source))).toMatchObject([{ code: 'engine_unavailable' }]);
  });

  it('corrects the phase of an error of the engine, and ends there', async () => {
    const source = new Source([accepted, text, lost, text]);
    expect(await collect(guarded(source))).toEqual([accepted, text, { ...lost, phase: 'during-output' }]);
    expect(source).toMatchObject({ closed: 1, reads: 3 });
  });

  it('closes the source when the consumer leaves early', async () => {
    const source = new Source([accepted, text, text, finish, end]);
    for await (const event of guarded(source)) {
      if (event.type === 'delta') {
        break;
      }
    }
    expect(source).toMatchObject({ closed: 1, reads: 2 });
  });

  it.each([
    ['the consumer left', [accepted, text], [accepted]],
    ['the answer ended', [accepted, finish, end], [accepted, finish, end]],
  ])('only logs that the source could not be closed after %s', async (_name, events, expected) => {
    const warn = vi.fn();
    const source = new Source(events, undefined, () => {
      throw new Error('stuck');
    });
    const given: InferenceEvent[] = [];
    for await (const event of guardEvents(chat, source, { log: { ...silentLogger, warn } })) {
      given.push(event);
      if (given.length === expected.length && event.type !== 'end') {
        break;
      }
    }
    expect(given).toEqual(expected);
    expect(warn).toHaveBeenCalledOnce();
  });

  it('drops progress above its limit', async () => {
    const chatter = new Array<InferenceEvent>(eventLimits.progress + 5).fill(queued);
    const given = await collect(guarded(new Source([...chatter, accepted, finish, end])));
    expect(given).toHaveLength(eventLimits.progress + 3);
  });
});
