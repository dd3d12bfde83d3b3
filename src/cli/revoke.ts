// `meshnode revoke`: puts a peer, or an invite that nobody shall use any more, out of the mesh.
import { loadConfig } from '../node/config.ts';
import { type CommandContext, requiredArgument } from './command-context.ts';
import { NodeClient } from './node-client.ts';

export async function revoke(context: CommandContext): Promise<number> {
  const { options, environment, output, interrupted } = context;
  const target = requiredArgument(context, 0);
  const { paths } = await loadConfig(options.flags(), environment);
  const client = await NodeClient.find(paths.dataDir);
  const { peer, invite, ...rest } = await client.revoke(target, interrupted);
  if (output.json) {
    output.value({ peer, invite, ...rest });
    return 0;
  }
  if (peer !== undefined) {
    output.say(`${peer.name || 'The peer'} (${peer.peerId}) is out of the mesh for good.`);
    output.say(
      invite === undefined ? 'Its invite admits nobody any more anyway.' : 'Its invite is revoked too.',
    );
    output.say('Only a new invite lets it in again.');
  } else {
    output.say('The invite is revoked. Whoever has joined by it stays: revoke the peer to put it out.');
  }
  return 0;
}
