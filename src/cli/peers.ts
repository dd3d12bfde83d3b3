// `meshnode peers`: the other members of the mesh, as the running node sees them.
import type { PeerView } from '../console/mesh-port.ts';
import { loadConfig } from '../node/config.ts';
import type { CommandContext } from './command-context.ts';
import { shortPeerId } from './format.ts';
import { NodeClient } from './node-client.ts';

export async function peers({ options, environment, output, interrupted }: CommandContext): Promise<number> {
  const { paths } = await loadConfig(options.flags(), environment);
  const client = await NodeClient.find(paths.dataDir);
  const views = await client.peers(interrupted);
  if (output.json) {
    for (const view of views) {
      output.value(view);
    }
    return 0;
  }
  if (views.length === 0) {
    output.say('There is no other node in this mesh yet. Invite one: meshnode invite');
    return 0;
  }
  output.table(
    ['NAME', 'PEER', 'ROLE', 'STATE', 'PATH', 'DIRECTION', 'RTT', 'MODELS', 'VERSION'],
    views.map(row),
  );
  return 0;
}

function row({ name, peerId, role, state, paths, rttMs, models, version }: PeerView): string[] {
  return [
    name || '-',
    shortPeerId(peerId),
    role,
    state,
    joined(paths.map(({ path }) => path)),
    joined(paths.map(({ direction }) => direction)),
    rttMs === undefined ? '-' : `${rttMs.toFixed(1)} ms`,
    joined(models.map((model) => model.name)),
    version || '-',
  ];
}

function joined(words: readonly string[]): string {
  return [...new Set(words)].join(', ') || '-';
}
