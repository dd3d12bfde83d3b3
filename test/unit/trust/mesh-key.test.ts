import { armor, Encrypter } from 'age-encryption';
import { describe, expect, it } from 'vitest';
import { keyText } from '../../../src/trust/keys.ts';
import { exportMeshKey, importMeshKey } from '../../../src/trust/mesh-key.ts';
import { keyNamed } from '../../support/test-mesh.ts';
import { rejectionOf } from '../../support/thrown.ts';

const key = keyNamed('mesh');
const meshId = keyText(key.publicKey);

/** An age file of any content, quick to open. */
async function ageFile(content: string, passphrase: string): Promise<string> {
  const encrypter = new Encrypter();
  encrypter.setPassphrase(passphrase);
  encrypter.setScryptWorkFactor(4);
  return armor.encode(await encrypter.encrypt(content));
}

describe('a mesh key', () => {
  it('comes back from its export with the passphrase, and with no other', async () => {
    const text = await exportMeshKey(key.seed, meshId, 'correct horse');
    expect(text).toMatch(/^-----BEGIN AGE ENCRYPTED FILE-----\n/);
    expect(text).not.toContain(keyText(key.seed));
    expect(await importMeshKey(text, 'correct horse')).toEqual({ seed: key.seed, meshId });
    expect((await rejectionOf(importMeshKey(text, 'correct house'))).code).toBe('passphrase_wrong');
  });

  it('is not found in other text', async () => {
    const file = await ageFile('{}', 'secret');
    for (const text of ['', 'mesh1abc', file.slice(0, -40), file.replaceAll('\n', ''), 'x'.repeat(100_000)]) {
      expect((await rejectionOf(importMeshKey(text, 'secret'))).code).toBe('mesh_key_invalid');
    }
  });

  it.each([
    ['no JSON', 'seed'],
    ['of another version', JSON.stringify({ meshnodeMeshKey: 2, meshId, seed: keyText(key.seed) })],
    ['without a seed', JSON.stringify({ meshnodeMeshKey: 1, meshId })],
    [
      'of another mesh than it names',
      JSON.stringify({ meshnodeMeshKey: 1, meshId, seed: keyText(keyNamed('other').seed) }),
    ],
  ])('is refused if the file holds one %s', async (_what, content) => {
    const file = await ageFile(content, 'secret');
    expect((await rejectionOf(importMeshKey(file, 'secret'))).code).toBe('mesh_key_invalid');
  });

  it('is refused for a file that no passphrase opens', async () => {
    const encrypter = new Encrypter();
    encrypter.addRecipient('age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p');
    const file = armor.encode(await encrypter.encrypt('{}'));
    expect((await rejectionOf(importMeshKey(file, 'secret'))).code).toBe('mesh_key_invalid');
  });
});
