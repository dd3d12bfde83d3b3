import { expect, it } from 'vitest';
import { quicLimits } from '../../../../src/util/limits/net.ts';
import { connectQuicHosts, type QuicKind } from '../../../support/quic-host.ts';
import { libp2pEnds, mostGrownBytes, runSlowReader, shortPause } from '../../../support/slow-reader.ts';

const runOver = async (kind: QuicKind) => {
  const { openPair } = await connectQuicHosts(kind);
  return runSlowReader(libp2pEnds(await openPair()), shortPause);
};

it('a reader that stops for a while gets everything afterwards, and the sender is held meanwhile', async () => {
  const outcome = await runOver('ours');
  expect(outcome).toMatchObject({ receivedBytes: shortPause.sizeBytes, intact: true, error: undefined });
  const { streamWindowBytes, unreadBytes, readBytes, unsentBytes, writeBytes } = quicLimits;
  const most = streamWindowBytes + unreadBytes + 2 * readBytes + unsentBytes + 2 * writeBytes;
  expect(outcome.sentWhilePausedBytes).toBeLessThanOrEqual(most);
  expect(outcome.grownBytes).toBeLessThan(mostGrownBytes);
});

it('(the transport that we replace resets it)', async () => {
  const outcome = await runOver('stock');
  expect(outcome.receivedBytes).toBeLessThan(shortPause.sizeBytes);
  expect(outcome.error?.message).toMatch(/^Read buffer length of \d+ exceeded limit/);
});
