import type { Connection } from '@libp2p/interface';
import { describe, expect, it } from 'vitest';
import { doubtfulBeside, type LinkedConnection, Links } from '../../../src/net/links.ts';
import type { Link } from '../../../src/net/network.ts';
import { netLimits } from '../../../src/util/limits/net.ts';
import { silentLogger } from '../../../src/util/logging.ts';

const justOlderMs = netLimits.twinLinksMs + 1;

function linked(sinceMs: number, { path = 'quic', direction = 'inbound' }: Partial<Link> = {}) {
  const link: Link = { id: `at ${sinceMs}`, peer: 'a', path, direction, remoteAddress: '', openedMs: 0 };
  return { connection: {} as Connection, link, sinceMs } satisfies LinkedConnection;
}

describe('a link that a peer opens', () => {
  it('makes its older ones of the same path doubtful, whoever dialled them', () => {
    const [dialled, taken] = [linked(0, { direction: 'outbound' }), linked(1)];
    expect(doubtfulBeside(linked(1 + justOlderMs), [dialled, taken])).toEqual([dialled, taken]);
  });

  it('says nothing of another path', () => {
    expect(doubtfulBeside(linked(justOlderMs), [linked(0, { path: 'tcp' })])).toEqual([]);
  });

  it('says nothing of its twin, dialled from the other side at the same time', () => {
    expect(doubtfulBeside(linked(netLimits.twinLinksMs), [linked(0, { direction: 'outbound' })])).toEqual([]);
  });
});

describe('a link that this node opens', () => {
  it('says nothing of others', () => {
    expect(doubtfulBeside(linked(justOlderMs, { direction: 'outbound' }), [linked(0)])).toEqual([]);
  });
});

it('of several links of one path the newest is used', () => {
  const links = new Links(silentLogger);
  const tcp = [linked(0, { path: 'tcp' }), linked(1, { path: 'tcp' })];
  const quic = linked(2);
  for (const one of [...tcp, quic]) {
    links.add(one);
  }
  expect(links.by('a', 'tcp')).toBe(tcp[1]);
  expect(links.by('a', 'quic')).toBe(quic);
});
