// `meshnode leave`: takes the node out of its mesh for good. A running node tells the others; without one only
// the data folder forgets.
import { loadConfig } from '../node/config.ts';
import { openDataFolder } from '../node/data-folder.ts';
import { MeshFolder } from '../node/mesh-folder.ts';
import { MeshnodeError } from '../util/errors.ts';
import type { CommandContext } from './command-context.ts';
import { runningNode } from './node-client.ts';

export async function leave(context: CommandContext): Promise<number> {
  const { options, environment, output, interrupted } = context;
  const { paths } = await loadConfig(options.flags(), environment);
  const withKey = options.has('yes');
  const client = await runningNode(paths.dataDir);
  const told = client !== undefined;
  if (told) {
    await client.leave(withKey, interrupted);
  } else {
    await forget(context, paths.dataDir, withKey);
  }
  if (output.json) {
    output.value({ left: true, told });
    return 0;
  }
  output.say(
    told
      ? 'The node has left its mesh and serves on by itself. At its next start it makes a mesh, or joins one with --join.'
      : 'The data folder has forgotten its mesh. The mesh was not told: it holds this node silent, then dead.',
  );
  return 0;
}

async function forget({ random }: CommandContext, dataDir: string, withKey: boolean): Promise<void> {
  const folder = await openDataFolder(dataDir, { random });
  try {
    const mesh = new MeshFolder(dataDir);
    const { membership, meshKey } = await mesh.holds();
    if (!membership && !meshKey) {
      throw new MeshnodeError('mesh_missing', `${dataDir} belongs to no mesh.`);
    }
    if (meshKey && !withKey) {
      throw new MeshnodeError(
        'mesh_key_at_risk',
        'This folder holds the key of its mesh; leaving deletes it.',
      );
    }
    await mesh.forgetMesh();
  } finally {
    await folder.close();
  }
}
