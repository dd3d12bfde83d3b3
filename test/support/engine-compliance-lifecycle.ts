// Compliance: cancelling, sharing slots, crashing and unloading. Whatever happens, a stream says how it
// ended and the slot comes back.
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { LoadedModel } from '../../src/engine/engine.ts';
import type { InferenceEvent } from '../../src/inference/events.ts';
import { chatRequest, collect, complete } from './engine-answers.ts';
import type { EngineUnderTest, Suite } from './engine-compliance.ts';

/** How soon after a cancel the stream must have ended and the slot be free. */
const cancelMs = 1_000;

export function testLifecycle(suite: Suite): void {
  describe('is cancelled', () => {
    test('within a second when the signal aborts, and frees the slot', async () => {
      const { model, expects } = suite.engine();
      const caller = new AbortController();
      let abortedAt = 0;
      const answer = await collect(model, chatRequest(model.name, expects.endlessPrompt), {
        signal: caller.signal,
        onEvent: onFirstDelta(() => {
          abortedAt = performance.now();
          caller.abort();
        }),
      });
      expect(performance.now() - abortedAt).toBeLessThan(cancelMs);
      expect(answer.error).toMatchObject({ code: 'cancelled', phase: 'during-output' });
      await idle(model);
    });

    test('by leaving the iterator early', async () => {
      const { model, expects } = suite.engine();
      const caller = new AbortController();
      for await (const event of model.infer(chatRequest(model.name, expects.endlessPrompt), caller.signal)) {
        if (event.type === 'delta') {
          break;
        }
      }
      await idle(model);
    });

    test('before it begins when the signal is aborted already', async () => {
      const { model, expects } = suite.engine();
      const answer = await collect(model, chatRequest(model.name, expects.endlessPrompt), {
        signal: AbortSignal.abort(),
      });
      expect(answer.events).toMatchObject([{ type: 'error', code: 'cancelled', phase: 'before-output' }]);
      await idle(model);
    });
  });

  describe('shares itself', () => {
    test('among four requests at once', async ({ skip }) => {
      const { model, expects } = suite.engine();
      skip(expects.slots < 4, 'fewer than four slots expected');
      let clock = 0;
      const spans = await Promise.all(
        [1, 2, 3, 4].map(async (number) => {
          const span = { first: 0, last: 0 };
          const request = chatRequest(model.name, `${expects.endlessPrompt} ${number}`, { maxTokens: 128 });
          const answer = await collect(model, request, {
            onEvent: (event) => {
              if (event.type === 'delta') {
                span.last = ++clock;
                span.first ||= span.last;
              }
            },
          });
          expect(answer.error).toBeUndefined();
          return span;
        }),
      );
      const [earliest] = [...spans].sort((one, other) => one.first - other.first);
      expect(
        Math.max(...spans.map(({ first }) => first)),
        'the fourth begins before the first ends',
      ).toBeLessThan(earliest?.last ?? 0);
    });

    test('among more requests than slots', async () => {
      const { model, expects } = suite.engine();
      const count = expects.slots * 2 + 1;
      const answers = await Promise.all(
        Array.from({ length: count }, (_, number) =>
          collect(model, chatRequest(model.name, `${expects.endlessPrompt} ${number}`, { maxTokens: 4 })),
        ),
      );
      const refused = answers.filter(({ error }) => error !== undefined);
      for (const { error } of refused) {
        expect(error?.code).toMatch(/^(queue_full|rate_limit_exceeded)$/);
      }
      expect(refused.length).toBeLessThanOrEqual(expects.whenFull === 'refuse' ? count - expects.slots : 0);
      await idle(model);
    });

    test('and tells its load', async () => {
      const { model, expects } = suite.engine();
      await complete(model, chatRequest(model.name, expects.endlessPrompt, { maxTokens: 8 }));
      const figures = model.figures();
      expect(figures.slots).toBeGreaterThan(0);
      expect(figures.tokensPerSecond).toBeGreaterThanOrEqual(0);
      await model.health(AbortSignal.timeout(5_000));
    });
  });

  describe('ends', () => {
    test('with an error, never cleanly, when it crashes during an answer, and comes back', async ({
      skip,
    }) => {
      const { crash } = suite.engine();
      skip(crash === undefined, 'nothing that could crash');
      const engine = await another(suite);
      const { model, expects } = engine;
      const crashed: Array<Promise<void>> = [];
      const answer = await collect(model, chatRequest(model.name, expects.endlessPrompt), {
        onEvent: onFirstDelta(() => crashed.push(engine.crash?.() ?? Promise.resolve())),
      });
      await Promise.all(crashed);
      expect(answer.error?.code).toMatch(/^(engine_lost|engine_unavailable)$/);
      expect(answer.error?.phase).toBe('during-output');
      await ready(model);
      await complete(model, chatRequest(model.name, expects.endingPrompt, { maxTokens: 4 }));
    });

    test('running answers with an error when it is unloaded, and gives no new ones', async () => {
      const { model, expects } = await another(suite);
      const unloaded: Array<Promise<void>> = [];
      const answer = await collect(model, chatRequest(model.name, expects.endlessPrompt), {
        onEvent: onFirstDelta(() => unloaded.push(model.unload())),
      });
      await Promise.all(unloaded);
      expect(answer.error?.code).toMatch(/^(shutting_down|engine_lost)$/);
      expect(model.state).toEqual({ state: 'unloaded' });
      await model.unload();
      const after = await collect(model, chatRequest(model.name, expects.endingPrompt));
      expect(after.events).toMatchObject([{ type: 'error', phase: 'before-output' }]);
    });
  });
}

async function another(suite: Suite): Promise<EngineUnderTest> {
  const engine = await suite.make();
  onTestFinished(() => engine.close());
  return engine;
}

function onFirstDelta(act: () => void): (event: InferenceEvent) => void {
  let acted = false;
  return (event) => {
    if (event.type === 'delta' && !acted) {
      acted = true;
      act();
    }
  };
}

/** Figures have no event to wait for. */
function idle(model: LoadedModel): Promise<void> {
  return vi.waitFor(() => expect(model.figures().inFlight, 'answers still in flight').toBe(0), {
    timeout: cancelMs,
    interval: 10,
  });
}

/** Waits until the model answers again, however short or long it was down. */
async function ready(model: LoadedModel): Promise<void> {
  await new Promise<void>((resolve) => {
    const check = (): void => {
      if (model.state.state === 'ready') {
        stop();
        resolve();
      }
    };
    const stop = model.onChange(check);
    check();
  });
}
