// Hosts for tests: on loopback, any free port, everything allowed unless the test says otherwise.
import { createHost, type HostOptions, type Libp2pHost } from '../../src/net/host.ts';
import { type Clock, systemClock } from '../../src/util/clock.ts';
import { silentLogger } from '../../src/util/logging.ts';
import { systemRandom } from '../../src/util/random.ts';

/** A started host over TCP alone. */
export function testHost(
  options: Partial<HostOptions> = {},
  clock: Clock = systemClock,
): Promise<Libp2pHost> {
  return createHost(
    {
      keySeed: systemRandom.bytes(32),
      listen: { host: '127.0.0.1', port: 0 },
      announce: [],
      transports: { tcp: true, quic: false },
      gate: () => true,
      ...options,
    },
    { clock, random: systemRandom, log: silentLogger },
  );
}
