// What a terminal is sent. The stream stands in for one; CI and TERM are those of a person's shell.
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { LiveRegion } from '../../../src/cli/live-region.ts';
import { Output } from '../../../src/cli/output.ts';
import { systemClock } from '../../../src/util/clock.ts';

beforeEach(() => {
  vi.stubEnv('CI', undefined);
  vi.stubEnv('TERM', 'xterm');
});
afterEach(() => {
  vi.unstubAllEnvs();
});

function terminal(size: { columns: number; rows: number }): { live: LiveRegion; shown: () => string } {
  const stderr = Object.assign(new PassThrough().setEncoding('utf8'), { isTTY: true, ...size });
  let text = '';
  stderr.on('data', (chunk) => {
    text += String(chunk);
  });
  const streams = { stdout: new PassThrough(), stderr } as unknown as ConstructorParameters<typeof Output>[0];
  return { live: new LiveRegion(new Output(streams, false, systemClock)), shown: () => text };
}

it('leaves long lines whole: what is shown can be copied', () => {
  const { live, shown } = terminal({ columns: 20, rows: 5 });
  const command = `curl ${'x'.repeat(100)} --end`;
  live.show('model', 'loading');
  live.print(command);
  live.close();
  expect(shown()).toContain(`${command}\n`);
});

it('shows a topic again below what was printed, and nothing of it once it is settled', () => {
  const { live, shown } = terminal({ columns: 80, rows: 24 });
  live.show('model', 'loading 10 %');
  live.print('a line');
  live.settle('model', 'ready');
  live.close();
  expect(shown()).toMatch(/loading 10 %.*a line\n.*loading 10 %.*ready\n/s);
  expect(shown().slice(shown().indexOf('ready'))).not.toContain('loading');
});

it('prints what is final on a terminal that does not tell its size', () => {
  const { live, shown } = terminal({ columns: 0, rows: 0 });
  live.show('model', 'loading');
  live.print('a line');
  live.settle('model', 'ready');
  live.close();
  expect(shown()).toBe('a line\nready\n');
});
