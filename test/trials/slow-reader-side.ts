// One side of the slow-reader trial: `reader PATH`, or `sender PATH PEER ADDRESS...`.
import { createHash } from 'node:crypto';
import type { PeerStream } from '../../src/net/network.ts';
import { protocols } from '../../src/trust/gate.ts';
import { sleep, systemClock } from '../../src/util/clock.ts';
import { testHost } from '../support/test-host.ts';
import { plan, type SideReport } from './slow-reader.ts';

const pieceBytes = 64 * 1024;

/** How much more memory the process holds than at first, at most. */
class Growth {
  readonly #before = process.memoryUsage.rss();
  #most = 0;

  look(): void {
    this.#most = Math.max(this.#most, process.memoryUsage.rss() - this.#before);
  }

  get bytes(): number {
    return this.#most;
  }
}

const [role, path, peer = '', ...addresses] = process.argv.slice(2);
const host = await testHost({ transports: { tcp: path === 'tcp', quic: path === 'quic' } });

if (role === 'reader') {
  const done = Promise.withResolvers<void>();
  const read = async (stream: PeerStream): Promise<void> => {
    report(await readSlowly(stream));
    done.resolve();
  };
  host.handle(protocols.blob, read, { streamsPerPeer: 1 });
  process.send?.({ peerId: host.peerId, addresses: host.addresses() });
  await done.promise;
} else {
  await host.dial(peer, addresses);
  const stream = await host.open(peer, protocols.blob);
  report(await sendAll(stream));
  await stream.closed;
}
await sleep(systemClock, 500); // The other side's last word.
await host.close();
process.disconnect?.();

/** Reads a first piece, stops, and takes the rest. */
async function readSlowly(stream: PeerStream): Promise<SideReport> {
  const hash = createHash('sha256');
  const growth = new Growth();
  let bytes = 0;
  for (let piece = await stream.read(); piece !== undefined; piece = await stream.read()) {
    hash.update(piece);
    growth.look();
    if (bytes === 0) {
      await pause(growth);
    }
    bytes += piece.length;
  }
  return { bytes, grownBytes: growth.bytes, digest: hash.digest('hex') };
}

async function pause(growth: Growth): Promise<void> {
  for (let waitedMs = 0; waitedMs < plan.pauseMs; waitedMs += 250) {
    await sleep(systemClock, 250);
    growth.look();
  }
}

async function sendAll(stream: PeerStream): Promise<SideReport> {
  const hash = createHash('sha256');
  const growth = new Growth();
  for (let bytes = 0; bytes < plan.sizeBytes; bytes += pieceBytes) {
    const piece = Buffer.alloc(pieceBytes, bytes / pieceBytes);
    hash.update(piece);
    await stream.write(piece);
    growth.look();
  }
  await stream.end();
  return { bytes: plan.sizeBytes, grownBytes: growth.bytes, digest: hash.digest('hex') };
}

function report(side: SideReport): void {
  process.send?.(side);
}
