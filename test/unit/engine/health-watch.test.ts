import { describe, expect, it } from 'vitest';
import { watchHealth } from '../../../src/engine/health-watch.ts';
import type { MeshnodeError } from '../../../src/util/errors.ts';
import { engineLimits } from '../../../src/util/limits/engine.ts';
import { ManualClock } from '../../support/manual-clock.ts';

/** A model whose pings are answered, fail, or hang, as `mood` says. */
function watched(clock: ManualClock) {
  const model = {
    running: true,
    mood: 'well' as 'well' | 'broken' | 'hung',
    pings: 0,
    restarts: [] as MeshnodeError[],
    ping(signal: AbortSignal): Promise<void> {
      model.pings++;
      return new Promise((resolve, reject) => {
        if (model.mood === 'well') {
          resolve();
        } else if (model.mood === 'broken') {
          reject(new Error('the process has ended'));
        }
        signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      });
    },
    restart: (reason: MeshnodeError) => model.restarts.push(reason),
  };
  return { model, watch: watchHealth(model, clock) };
}

describe('watchHealth', () => {
  it('asks again and again and leaves a model alone that answers', async () => {
    const clock = new ManualClock();
    const { model } = watched(clock);
    await clock.advance(5.5 * engineLimits.healthMs);
    expect(model.pings).toBe(5);
    expect(model.restarts).toEqual([]);
  });

  it('restarts a model that is silent for too long, once', async () => {
    const clock = new ManualClock();
    const { model } = watched(clock);
    model.mood = 'hung';
    await clock.advance(engineLimits.healthMs + engineLimits.healthTimeoutMs - 1);
    expect(model.restarts).toEqual([]);
    model.mood = 'well';
    await clock.advance(engineLimits.healthMs);
    expect(model.restarts).toMatchObject([{ code: 'engine_timeout' }]);
  });

  it('leaves a process that has ended to its supervisor, and one that is not there', async () => {
    const clock = new ManualClock();
    const { model } = watched(clock);
    model.mood = 'broken';
    await clock.advance(2 * engineLimits.healthMs);
    model.running = false;
    await clock.advance(10 * engineLimits.healthMs);
    expect(model.restarts).toEqual([]);
    expect(model.pings).toBe(2);
  });

  it('stops when it is told to, in the middle of a ping too', async () => {
    const clock = new ManualClock();
    const { model, watch } = watched(clock);
    model.mood = 'hung';
    await clock.advance(engineLimits.healthMs + 1);
    watch.cancel();
    await clock.advance(2 * engineLimits.healthTimeoutMs);
    expect(model.restarts).toEqual([]);
    expect(clock.pendingTimers).toBe(0);
  });
});
