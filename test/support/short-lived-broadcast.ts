// A process of its own: runs gossipsub until after its first heartbeat, stops, and has to end well before the next
// one, which is a second later. Exits with 1 if a timer held it up.
import { GossipsubBroadcast } from '../../src/mesh/gossipsub-broadcast.ts';
import { sleep, systemClock } from '../../src/util/clock.ts';
import { silentLogger } from '../../src/util/logging.ts';
import { testHost } from './test-host.ts';

const firstHeartbeatMs = 100;
const mostMs = 500;

const broadcast = new GossipsubBroadcast({
  gate: () => true,
  clock: systemClock,
  log: silentLogger,
});
const host = await testHost({ services: { gossipsub: broadcast.service } });
await broadcast.start(() => 'accept');
await sleep(systemClock, firstHeartbeatMs + 50);
await broadcast.stop();
await host.close();
const stoppedMs = systemClock.monotonicMs();
process.on('exit', () => {
  process.exitCode = systemClock.monotonicMs() - stoppedMs > mostMs ? 1 : 0;
});
