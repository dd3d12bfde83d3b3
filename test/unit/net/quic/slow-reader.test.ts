import { expect, it } from 'vitest';
import { quicLimits } from '../../../../src/util/limits.ts';
import { connectQuicHosts } from '../../../support/quic-host.ts';
import { runSlowReader, shortPause } from '../../../support/slow-reader.ts';

const MiB = 1024 * 1024;

it('a reader that stops for a while gets everything afterwards, and the sender is held meanwhile', async () => {
  const outcome = await runSlowReader(await connectQuicHosts(), shortPause);
  expect(outcome).toMatchObject({ receivedBytes: shortPause.sizeBytes, intact: true, error: undefined });
  const { streamWindowBytes, unreadBytes, readBytes, unsentBytes, writeBytes } = quicLimits;
  const most = streamWindowBytes + unreadBytes + 2 * readBytes + unsentBytes + 2 * writeBytes;
  expect(outcome.sentWhilePausedBytes).toBeLessThanOrEqual(most);
  expect(outcome.grownBytes).toBeLessThan(32 * MiB);
});

it('(the transport that we replace resets it)', async () => {
  const outcome = await runSlowReader(await connectQuicHosts('stock'), shortPause);
  expect(outcome.receivedBytes).toBeLessThan(shortPause.sizeBytes);
  expect(outcome.error?.message).toMatch(/^Read buffer length of \d+ exceeded limit/);
});
