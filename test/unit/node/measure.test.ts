// Measuring over networks in memory: what arrives is counted, and nobody is kept busy without bounds.
import { describe, expect, it } from 'vitest';
import { measureThroughput, serveMeasure } from '../../../src/node/measure.ts';
import { protocols } from '../../../src/trust/gate.ts';
import { systemClock } from '../../../src/util/clock.ts';
import { measureLimits } from '../../../src/util/limits/node.ts';
import { type InProcessNetwork, InProcessNetworks } from '../../support/in-process-network.ts';
import { rejectionOf } from '../../support/thrown.ts';

const signal = new AbortController().signal;

async function linked(): Promise<{ ada: InProcessNetwork; bee: InProcessNetwork }> {
  const networks = new InProcessNetworks();
  const ada = networks.create({ peerId: 'ada' });
  const bee = networks.create({ peerId: 'bee' });
  await ada.dial('bee', bee.addresses());
  return { ada, bee };
}

describe('measuring throughput', () => {
  it('is what a peer has counted over the time it took', async () => {
    const { ada, bee } = await linked();
    serveMeasure(bee, systemClock);
    const bytesPerSecond = await measureThroughput(ada, {
      peer: 'bee',
      path: 'memory',
      clock: systemClock,
      signal,
    });
    expect(bytesPerSecond).toBeGreaterThan(measureLimits.bytes / (measureLimits.ms / 1000));
  });

  it('fails if the peer counts something else', async () => {
    const { ada, bee } = await linked();
    bee.handle(
      protocols.measure,
      async (stream) => {
        while ((await stream.read()) !== undefined);
        await stream.write(new Uint8Array(8));
      },
      { streamsPerPeer: 1 },
    );
    const measuring = measureThroughput(ada, { peer: 'bee', path: 'memory', clock: systemClock, signal });
    expect(await rejectionOf(measuring)).toMatchObject({ code: 'stream_broken' });
  });

  it('takes no more than its bound', async () => {
    const { ada, bee } = await linked();
    serveMeasure(bee, systemClock);
    const stream = await ada.open('bee', protocols.measure);
    const flooding = async (): Promise<void> => {
      const piece = new Uint8Array(measureLimits.writeBytes);
      for (let sentBytes = 0; sentBytes <= 2 * measureLimits.servedBytes; sentBytes += piece.length) {
        await stream.write(piece);
      }
    };
    expect(await rejectionOf(flooding())).toMatchObject({ code: 'stream_broken' });
  });
});
