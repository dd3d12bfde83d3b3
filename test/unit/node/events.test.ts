// The events of a node: numbered, kept, replayed, and not more of them than a reader needs.

import { describe, expect, it } from 'vitest';
import type { Capabilities } from '../../../src/engine/engine.ts';
import { EventLog, type NumberedEvent } from '../../../src/node/events.ts';
import { modelReporter } from '../../../src/node/model-events.ts';
import type { ModelStatus } from '../../../src/serving/model-status.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { nodeLimits } from '../../../src/util/limits/node.ts';
import { silentLogger } from '../../../src/util/logging.ts';
import { ManualClock } from '../../support/manual-clock.ts';

function setUp() {
  const clock = new ManualClock(Date.UTC(2026, 0, 2, 3, 4, 5));
  const log = new EventLog(clock, silentLogger);
  const heard = (afterId?: number): NumberedEvent[] => {
    const events: NumberedEvent[] = [];
    log.follow((event) => events.push(event), afterId)();
    return events;
  };
  return { clock, log, heard };
}

describe('the event log', () => {
  it('says what happened and when', () => {
    const { log, heard } = setUp();
    log.emit({ event: 'api', url: 'http://127.0.0.1:9337' });
    expect(heard()).toEqual([
      { id: 1, event: { time: '2026-01-02T03:04:05.000Z', event: 'api', url: 'http://127.0.0.1:9337' } },
    ]);
  });

  it('replays what a listener has not seen, then tells what comes', () => {
    const { log } = setUp();
    for (let count = 0; count < 3; count++) {
      log.emit({ event: 'ready' });
    }
    const ids: number[] = [];
    const stop = log.follow(({ id }) => ids.push(id), 2);
    log.emit({ event: 'ready' });
    stop();
    log.emit({ event: 'ready' });
    expect(ids).toEqual([3, 4]);
  });

  it('replays all to a listener who knew an earlier run', () => {
    const { log, heard } = setUp();
    log.emit({ event: 'ready' });
    expect(heard(99)).toHaveLength(1);
  });

  it('keeps only so many', () => {
    const { log, heard } = setUp();
    for (let count = 0; count < nodeLimits.events + 5; count++) {
      log.emit({ event: 'ready' });
    }
    expect(heard()).toHaveLength(nodeLimits.events);
    expect(heard()[0]?.id).toBe(6);
  });
});

describe('events of models', () => {
  const status = (fields: Partial<ModelStatus>): ModelStatus => ({
    name: 'demo',
    reference: './demo.gguf',
    stage: 'loading',
    createdMs: 0,
    ...fields,
  });

  it('tell every stage at once and progress only now and then', async () => {
    const { clock, log, heard } = setUp();
    const report = modelReporter(log, clock);
    report(status({ stage: 'placing' }));
    report(status({}));
    for (let percent = 1; percent <= 100; percent++) {
      await clock.advance(10);
      report(status({ fraction: percent / 100 }));
    }
    report(status({ stage: 'ready', engine: 'embedded' }));
    const events = heard().map(({ event }) => event);
    expect(events.length).toBeGreaterThan(4);
    expect(events.length).toBeLessThan(10);
    expect(events.at(-1)).toMatchObject({ event: 'model', model: 'demo', state: 'ready', mode: 'solo' });
  });

  it('say nothing twice', () => {
    const { clock, log, heard } = setUp();
    const report = modelReporter(log, clock);
    report(status({ digest: 'pending' }));
    report(status({ digest: 'aa' }));
    expect(heard()).toHaveLength(1);
  });

  it('tell why a model failed, and never where its file lies', () => {
    const { clock, log, heard } = setUp();
    const error = new MeshnodeError('gguf_invalid', 'The file is cut short.');
    modelReporter(log, clock)(status({ stage: 'failed', error }));
    expect(heard()[0]?.event).toMatchObject({
      state: 'failed',
      error: { code: 'gguf_invalid', message: 'The file is cut short.', hint: error.hint },
    });
    expect(JSON.stringify(heard())).not.toContain('./demo.gguf');
  });

  it('tell what a model can be asked for once it is ready', () => {
    const { clock, log, heard } = setUp();
    const report = modelReporter(log, clock);
    const capabilities: Capabilities = {
      kinds: new Set(['embedding']),
      features: new Set(['seed'] as const),
      extraFields: new Set<string>(),
    };
    report(status({ capabilities }));
    report(status({ stage: 'ready', engine: 'embedded', capabilities }));
    const [loading, ready] = heard().map(({ event }) => event);
    expect(loading).not.toHaveProperty('kinds');
    expect(ready).toMatchObject({ state: 'ready', kinds: ['embedding'] });
  });
});
