// Stages, names and estimates of models.
import { describe, expect, it } from 'vitest';
import type { ModelStatus } from '../../../src/serving/model-status.ts';
import {
  applyModelEvent,
  emptyTable,
  type ModelEvent,
  type ModelProgress,
  type ModelTable,
} from '../../../src/serving/model-table.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';

const asked = (key: string, name = key): ModelEvent => ({
  type: 'asked',
  key,
  name,
  reference: key,
  createdMs: 1,
});
const progress = (stage: ModelProgress['stage'], fraction?: number): ModelEvent => ({
  type: 'progress',
  key: 'demo',
  stage,
  ...(fraction === undefined ? {} : { fraction }),
});
const ready: ModelEvent = {
  type: 'ready',
  key: 'demo',
  engine: 'embedded',
  capabilities: { kinds: new Set(['chat']), features: new Set(), extraFields: new Set() },
};

/** The table after events at the given times. */
function tableAfter(...steps: ReadonlyArray<readonly [atMs: number, event: ModelEvent]>): ModelTable {
  return steps.reduce((table, [atMs, event]) => applyModelEvent(table, event, atMs), emptyTable);
}

function demoAfter(...steps: ReadonlyArray<readonly [atMs: number, event: ModelEvent]>): ModelStatus {
  const entry = tableAfter([0, asked('demo')], ...steps).get('demo');
  if (entry === undefined) {
    throw new Error('demo is gone');
  }
  return entry.status;
}

describe('the stages of a model', () => {
  it('begin with resolving', () => {
    expect(demoAfter()).toEqual({ name: 'demo', reference: 'demo', stage: 'resolving', createdMs: 1 });
  });

  it('forget the progress of the one before', () => {
    const status = demoAfter([0, progress('downloading', 0.9)], [1, progress('verifying')]);
    expect(status).toMatchObject({ stage: 'verifying' });
    expect(status).not.toHaveProperty('fraction');
  });

  it('end with ready, and what the model can do', () => {
    expect(demoAfter([0, progress('loading', 0.9)], [1, ready])).toMatchObject({
      stage: 'ready',
      engine: 'embedded',
    });
  });

  it('go back to loading, with the reason, while the process is started again', () => {
    const error = new MeshnodeError('engine_lost', 'It died.');
    const restarting = demoAfter([0, ready], [1, { type: 'restarting', key: 'demo', error }]);
    expect(restarting).toMatchObject({ stage: 'loading', error });
    expect(
      demoAfter([0, ready], [1, { type: 'restarting', key: 'demo', error }], [2, ready]),
    ).not.toHaveProperty('error');
  });

  it('leave nothing behind once unloaded', () => {
    expect(tableAfter([0, asked('demo')], [1, { type: 'unloaded', key: 'demo' }]).size).toBe(0);
  });

  it('ignore late news of a model that is gone', () => {
    const table = tableAfter([0, asked('other')]);
    expect(applyModelEvent(table, progress('loading', 0.5), 1)).toBe(table);
    expect(applyModelEvent(table, ready, 1)).toBe(table);
  });

  it('do not go back when progress comes late', () => {
    expect(demoAfter([0, ready], [1, progress('loading', 0.9)])).toMatchObject({ stage: 'ready' });
  });

  it('give the same table back when nothing is new', () => {
    const table = tableAfter([0, asked('demo')], [1, progress('placing')]);
    expect(applyModelEvent(table, progress('placing'), 2)).toBe(table);
  });
});

describe('the estimate', () => {
  it('follows from the speed of loading so far', () => {
    const status = demoAfter([0, progress('loading', 0)], [2_000, progress('loading', 0.25)]);
    expect(status.etaSeconds).toBe(6);
  });

  it('is absent until enough was seen', () => {
    const early = demoAfter([0, progress('loading', 0)], [500, progress('loading', 0.25)]);
    const slow = demoAfter([0, progress('loading', 0)], [5_000, progress('loading', 0.001)]);
    expect(early).not.toHaveProperty('etaSeconds');
    expect(slow).not.toHaveProperty('etaSeconds');
  });

  it('counts from the first progress, not from zero and not from the start of the process', () => {
    const status = demoAfter(
      [0, progress('loading')],
      [60_000, progress('loading', 0.5)],
      [61_000, progress('loading', 0.75)],
    );
    expect(status.etaSeconds).toBe(1);
  });

  it('is the download’s own while it downloads', () => {
    const known: ModelEvent = {
      type: 'progress',
      key: 'demo',
      stage: 'downloading',
      fraction: 0.5,
      etaSeconds: 33,
    };
    expect(demoAfter([0, known]).etaSeconds).toBe(33);
    expect(
      demoAfter([0, progress('downloading', 0)], [9_000, progress('downloading', 0.5)]),
    ).not.toHaveProperty('etaSeconds');
  });
});

describe('names', () => {
  it('are never shared by two models', () => {
    const table = tableAfter([0, asked('a', 'demo')], [1, asked('b', 'demo')], [2, asked('c', 'demo')]);
    expect([...table.values()].map(({ status }) => status.name)).toEqual(['demo', 'demo@2', 'demo@3']);
  });

  it('are free again once their model is gone', () => {
    const table = tableAfter(
      [0, asked('a', 'demo')],
      [1, { type: 'unloaded', key: 'a' }],
      [2, asked('b', 'demo')],
    );
    expect(table.get('b')?.status.name).toBe('demo');
  });

  it('stay with a model that is asked for again', () => {
    const table = tableAfter([0, asked('a', 'demo')], [1, asked('a', 'demo')]);
    expect(table.get('a')?.status.name).toBe('demo');
  });
});
