// Who passes the gate while the cache is changed.
import { describe, expect, it } from 'vitest';
import { CacheGate } from '../../../../src/engine/embedded/cache-gate.ts';

/** Whether generations pass within a turn of the event loop. */
async function isOpen(gate: CacheGate): Promise<boolean> {
  return Promise.race([
    gate.pass().then(() => true),
    new Promise<boolean>((resolve) => setImmediate(() => resolve(false))),
  ]);
}

describe('the gate before each step of a generation', () => {
  it('is open unless the cache is being changed', async () => {
    const gate = new CacheGate();
    expect(await isOpen(gate)).toBe(true);
    const { promise, resolve } = Promise.withResolvers<void>();
    const change = gate.change(() => promise);
    expect(await isOpen(gate)).toBe(false);
    resolve();
    await change;
    expect(await isOpen(gate)).toBe(true);
  });

  it('opens after the last of several changes, and lets those pass that came before', async () => {
    const gate = new CacheGate();
    const first = Promise.withResolvers<void>();
    const second = Promise.withResolvers<void>();
    const changes = [gate.change(() => first.promise), gate.change(() => second.promise)];
    const waiting = gate.pass();
    first.resolve();
    await changes[0];
    expect(await isOpen(gate)).toBe(false);
    second.resolve();
    await waiting;
    expect(await isOpen(gate)).toBe(true);
  });

  it('opens after a change that failed', async () => {
    const gate = new CacheGate();
    await expect(gate.change(() => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(await isOpen(gate)).toBe(true);
  });
});
