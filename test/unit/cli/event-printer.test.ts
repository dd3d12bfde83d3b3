import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { EventPrinter } from '../../../src/cli/event-printer.ts';
import { LiveRegion } from '../../../src/cli/live-region.ts';
import { Output } from '../../../src/cli/output.ts';
import type { InferenceKind } from '../../../src/inference/request.ts';
import type { NodeFact } from '../../../src/node/events.ts';
import { ManualClock } from '../../support/manual-clock.ts';

/** What a person reads of a node that tells this. */
function printed(...facts: readonly NodeFact[]): string {
  const stderr = new PassThrough().setEncoding('utf8');
  const streams = { stdout: new PassThrough(), stderr } as unknown as ConstructorParameters<typeof Output>[0];
  const output = new Output(streams, false, new ManualClock());
  const printer = new EventPrinter(output, new LiveRegion(output));
  for (const fact of facts) {
    printer.print({ time: '2026-01-02T03:04:05.000Z', ...fact });
  }
  return String(stderr.read() ?? '');
}

const api = { event: 'api', url: 'http://127.0.0.1:9337/v1' } as const;
const ready = (model: string, kinds: readonly InferenceKind[]) =>
  ({ event: 'model', model, state: 'ready', kinds }) as const;

describe('a node that is ready', () => {
  it.each([
    [['chat', 'completion'], '/chat/completions', 'messages'],
    [['completion'], '/completions', 'prompt'],
    [['embedding'], '/embeddings', 'input'],
    [['rerank'], '/rerank', 'documents'],
  ] as const)('shows how to try a model for %j', (kinds, path, field) => {
    const text = printed(api, ready('mine', kinds), { event: 'ready' });
    const [, url, body = ''] = /curl (\S+) -H 'content-type: application\/json' -d '(.*)'/.exec(text) ?? [];
    expect(url).toBe(`http://127.0.0.1:9337/v1${path}`);
    expect(JSON.parse(body)).toMatchObject({ model: 'mine', [field]: expect.anything() });
  });

  it('shows nothing to try without a model', () => {
    expect(printed(api, { event: 'ready' })).not.toContain('curl');
  });
});

describe('a peer', () => {
  const peer = { event: 'peer', peerId: '12D3KooWBWN8RWWpf1yNXaFcoKirgeTR6iCrUCXTqKpxo3DLz2KA' } as const;

  it.each([
    ['joined', 'bee has joined (4.2 ms away)'],
    ['suspect', 'bee has fallen silent'],
    ['dead', 'bee has gone away'],
    ['left', 'bee has left'],
  ] as const)('that is %s has a line', (state, line) => {
    expect(printed({ ...peer, name: 'bee', state, rttMs: 4.2 })).toBe(`Peer     ${line}\n`);
  });

  it('without a name is called by the end of its id', () => {
    expect(printed({ ...peer, state: 'joined' })).toBe('Peer     o3DLz2KA has joined\n');
  });
});
