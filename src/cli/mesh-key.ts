// `meshnode mesh export-key` and `import-key`: a backup of the mesh key, encrypted with a passphrase.
import { access, readFile, stat } from 'node:fs/promises';
import { loadConfig } from '../node/config.ts';
import { openDataFolder } from '../node/data-folder.ts';
import { MeshFolder } from '../node/mesh-folder.ts';
import { MeshnodeError, systemErrorCode } from '../util/errors.ts';
import { trustLimits } from '../util/limits/trust.ts';
import { replaceFile } from '../util/replace-file.ts';
import { type CommandContext, requiredArgument } from './command-context.ts';
import { readPassphrase } from './passphrase.ts';

/** `meshnode mesh export-key FILE`, beside a running node or without one */
export async function exportKey(context: CommandContext): Promise<number> {
  const { output } = context;
  const file = requiredArgument(context, 0);
  const seed = await new MeshFolder(await dataDirOf(context)).meshKey();
  if (seed === undefined) {
    throw new MeshnodeError('mesh_key_missing', 'This data folder does not hold the key of a mesh.');
  }
  await requireFree(file);
  const { KeyPair, keyText } = await import('../trust/keys.ts');
  const { exportMeshKey } = await import('../trust/mesh-key.ts');
  const meshId = keyText(KeyPair.fromSeed(seed).publicKey);
  const text = await exportMeshKey(seed, meshId, await readPassphrase(context, true));
  await attemptFile(file, () => replaceFile(file, text));
  if (output.json) {
    output.value({ file, meshId });
  } else {
    output.say(
      `The key of the mesh ${meshId.slice(0, 8)} is in ${file}. Whoever has it and the passphrase owns the mesh.`,
    );
  }
  return 0;
}

/** `meshnode mesh import-key FILE`, without a running node */
export async function importKey(context: CommandContext): Promise<number> {
  const { output, random } = context;
  const text = await readBackup(requiredArgument(context, 0));
  const dataDir = await dataDirOf(context);
  const { importMeshKey } = await import('../trust/mesh-key.ts');
  const folder = await openDataFolder(dataDir, { random });
  let meshId: string;
  try {
    const mesh = new MeshFolder(dataDir);
    const backup = await importMeshKey(text, await readPassphrase(context, false));
    meshId = backup.meshId;
    await requireMesh(mesh, meshId);
    await mesh.saveMeshKey(backup.seed);
  } finally {
    await folder.close();
  }
  if (output.json) {
    output.value({ meshId });
  } else {
    output.say(
      `This data folder holds the key of the mesh ${meshId.slice(0, 8)} now. Start the node: it is an admin of it.`,
    );
  }
  return 0;
}

async function dataDirOf({ options, environment }: CommandContext): Promise<string> {
  return (await loadConfig(options.flags(), environment)).paths.dataDir;
}

/** A folder of another mesh, or with the key of another one, does not take the key. */
async function requireMesh(folder: MeshFolder, meshId: string): Promise<void> {
  const saved = await folder.membership();
  const held = await folder.meshKey();
  const { KeyPair, keyText } = await import('../trust/keys.ts');
  const heldId = held === undefined ? undefined : keyText(KeyPair.fromSeed(held).publicKey);
  if ([saved?.meshId, heldId].some((other) => other !== undefined && other !== meshId)) {
    throw new MeshnodeError(
      'mesh_mismatch',
      `The key is of the mesh ${meshId.slice(0, 8)}, and this data folder of another.`,
    );
  }
}

/** What lies there may be the only copy of another key. */
async function requireFree(file: string): Promise<void> {
  const exists = await access(file).then(
    () => true,
    () => false,
  );
  if (exists) {
    throw new MeshnodeError('usage', `${file} exists already.`, {
      hint: 'Choose another name, or move the file away.',
    });
  }
}

async function readBackup(file: string): Promise<string> {
  return attemptFile(file, async () => {
    const { size } = await stat(file);
    if (size > trustLimits.meshKeyTextLength) {
      throw new MeshnodeError('mesh_key_invalid', `${file} is too large for a mesh key.`);
    }
    return readFile(file, 'utf8');
  });
}

async function attemptFile<T>(file: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof MeshnodeError) {
      throw cause;
    }
    throw new MeshnodeError('usage', `${file} cannot be used (${systemErrorCode(cause)}).`, {
      hint: 'Check the path of the file and who may use it.',
      cause,
    });
  }
}
