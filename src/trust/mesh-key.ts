// The backup of a mesh key: the seed, encrypted with a passphrase in the age format, which other tools can
// open too. Whoever has it and the passphrase owns the mesh.
import { armor, Decrypter, Encrypter, type Stanza } from 'age-encryption';
import * as z from 'zod';
import { MeshnodeError } from '../util/errors.ts';
import { trustLimits } from '../util/limits/trust.ts';
import { KeyPair, keyBytes, keyText, type MeshId } from './keys.ts';

const hexKey = z.string().regex(new RegExp(`^[0-9a-f]{${2 * keyBytes}}$`));
const backupSchema = z.object({ meshnodeMeshKey: z.literal(1), meshId: hexKey, seed: hexKey });

/** The seed of a mesh key as text: an age file in ASCII armour. Takes about a second, on purpose. */
export async function exportMeshKey(seed: Uint8Array, meshId: MeshId, passphrase: string): Promise<string> {
  const encrypter = new Encrypter();
  encrypter.setPassphrase(passphrase);
  const backup: z.infer<typeof backupSchema> = { meshnodeMeshKey: 1, meshId, seed: keyText(seed) };
  return armor.encode(await encrypter.encrypt(JSON.stringify(backup)));
}

/** Reads such a text. Throws `mesh_key_invalid` for any other, `passphrase_wrong` if it does not open. */
export async function importMeshKey(
  text: string,
  passphrase: string,
): Promise<{ seed: Uint8Array; meshId: MeshId }> {
  const backup = readBackup(await open(text, passphrase));
  const seed = new Uint8Array(Buffer.from(backup.seed, 'hex'));
  if (keyText(KeyPair.fromSeed(seed).publicKey) !== backup.meshId) {
    throw new MeshnodeError('mesh_key_invalid', 'The key in this file is not that of the mesh it names.');
  }
  return { seed, meshId: backup.meshId };
}

/** What the age file in `text` holds. */
async function open(text: string, passphrase: string): Promise<string> {
  if (text.length > trustLimits.meshKeyTextLength) {
    throw new MeshnodeError('mesh_key_invalid', 'The file is too long for a mesh key.');
  }
  let wrong = false;
  const decrypter = new Decrypter();
  decrypter.addPassphrase(passphrase);
  // Asked after the passphrase has opened nothing: that is how it is told apart from a damaged file.
  decrypter.addIdentity({
    unwrapFileKey: (stanzas: Stanza[]) => {
      wrong = stanzas.some((stanza) => stanza.args[0] === 'scrypt');
      return null;
    },
  });
  try {
    return await decrypter.decrypt(armor.decode(text), 'text');
  } catch (cause) {
    throw wrong
      ? new MeshnodeError('passphrase_wrong', 'The passphrase does not open this mesh key.', { cause })
      : new MeshnodeError('mesh_key_invalid', 'This is no mesh key, or it is damaged.', { cause });
  }
}

function readBackup(text: string): z.infer<typeof backupSchema> {
  try {
    return backupSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw new MeshnodeError('mesh_key_invalid', 'The file holds something else than a mesh key.', { cause });
  }
}
