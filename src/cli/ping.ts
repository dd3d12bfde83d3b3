// `meshnode ping PEER`: how far away a peer is, and how fast bytes get there, on every path there is.
import type { PathFigures } from '../console/mesh-port.ts';
import { loadConfig } from '../node/config.ts';
import { MeshnodeError } from '../util/errors.ts';
import { nodeLimits } from '../util/limits/node.ts';
import { type CommandContext, requiredArgument } from './command-context.ts';
import { NodeClient } from './node-client.ts';

const defaultCount = 10;

export async function ping(context: CommandContext): Promise<number> {
  const { options, environment, output, interrupted } = context;
  const peer = requiredArgument(context, 0);
  const count = options.number('count') ?? defaultCount;
  if (!(Number.isInteger(count) && count >= 1 && count <= nodeLimits.pings)) {
    throw new MeshnodeError('usage', `--count takes a whole number from 1 to ${nodeLimits.pings}.`);
  }
  const { paths } = await loadConfig(options.flags(), environment);
  const client = await NodeClient.find(paths.dataDir);
  const answer = await client.ping(peer, count, interrupted);
  if (output.json) {
    output.value(answer);
    return 0;
  }
  output.line(`${output.styled('strong', answer.name || answer.peerId)} · ${answer.peerId}`);
  output.table(['PATH', 'DIRECTION', 'RTT P50', 'LEAST', 'MOST', 'MB/S', 'ADDRESS'], answer.paths.map(row));
  return 0;
}

function row({ path, direction, rttMs, bytesPerSecond, remoteAddress }: PathFigures): string[] {
  const { p50, least, most } = rttMs;
  return [
    path,
    direction,
    ...[p50, least, most].map((ms) => `${ms.toFixed(2)} ms`),
    bytesPerSecond === undefined ? '-' : (bytesPerSecond / 1e6).toFixed(0),
    remoteAddress,
  ];
}
