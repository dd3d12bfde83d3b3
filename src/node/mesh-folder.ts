// What a data folder keeps of a node's place in its mesh: its identity, its membership, the mesh key where it is
// held, the port it listens on. Secrets all but the last. Whoever uses it holds the folder.
import * as fileSystem from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import type { MembershipMemory } from '../mesh/membership-memory.ts';
import { MeshnodeError, systemErrorCode } from '../util/errors.ts';
import { meshLimits } from '../util/limits/mesh.ts';
import { nodeLimits } from '../util/limits/node.ts';
import { trustLimits } from '../util/limits/trust.ts';
import type { Random } from '../util/random.ts';
import { removeLeftOvers, replaceFile } from '../util/replace-file.ts';
import { attempt } from './data-folder.ts';

/** A mesh that this node is a member of, and what it must not forget of it. */
export interface SavedMembership {
  readonly meshId: string;
  readonly memory: MembershipMemory;
}

const seedBytes = 32;

const names = {
  identity: 'identity.key',
  membership: 'mesh.json',
  meshKey: 'mesh.key',
  listenPort: 'listen-port',
} as const;

const bytes = z
  .string()
  .regex(/^[A-Za-z0-9_-]*$/, 'is no base64url')
  .transform((text) => new Uint8Array(Buffer.from(text, 'base64url')));

const membershipSchema = z.strictObject({
  meshId: z.string().regex(/^[0-9a-f]{64}$/, 'is no id of a mesh'),
  epoch: z.int().min(0),
  hasJoined: z.literal(true),
  certificate: bytes,
  formers: z.array(bytes).max(meshLimits.formerCertificates).default([]),
  proofs: z.array(bytes).max(trustLimits.uses + trustLimits.revocations),
  peers: z.array(z.strictObject({ peerId: z.string(), addresses: z.array(z.string()) })),
});

export class MeshFolder {
  readonly #path: string;

  /** `path` is the data folder. */
  constructor(path: string) {
    this.#path = path;
  }

  /** The seed of this node's key, 32 bytes, made at the first call. Rejects with `config_invalid` if it is damaged. */
  async identity(random: Random): Promise<Uint8Array> {
    const kept = await this.#readSeed(names.identity, 'or delete it: this node is another peer then');
    if (kept !== undefined) {
      return kept;
    }
    const seed = random.bytes(seedBytes);
    await this.#writeSeed(names.identity, seed);
    return seed;
  }

  /** The mesh of this folder, undefined if there is none. Rejects with `config_invalid` if the file is damaged. */
  async membership(): Promise<SavedMembership | undefined> {
    const text = await this.#read(names.membership, nodeLimits.meshFileBytes);
    if (text === undefined) {
      return undefined;
    }
    const { success, data, error } = membershipSchema.safeParse(parseOrUndefined(text));
    if (!success) {
      const [issue] = error.issues;
      throw this.#damaged(names.membership, `${issue?.path.join('.')} ${issue?.message}`, rejoin);
    }
    const { meshId, ...memory } = data;
    return { meshId, memory };
  }

  async saveMembership({ meshId, memory }: SavedMembership): Promise<void> {
    const content = {
      ...memory,
      meshId,
      certificate: asText(memory.certificate),
      formers: memory.formers.map(asText),
      proofs: memory.proofs.map(asText),
    };
    await this.#write(names.membership, JSON.stringify(content));
  }

  /** What there is of a mesh, readable or not. */
  async holds(): Promise<{ readonly membership: boolean; readonly meshKey: boolean }> {
    const exists = (name: string): Promise<boolean> =>
      fileSystem.access(join(this.#path, name)).then(
        () => true,
        () => false,
      );
    return { membership: await exists(names.membership), meshKey: await exists(names.meshKey) };
  }

  /** The seed of the mesh key, if this node holds it. */
  meshKey(): Promise<Uint8Array | undefined> {
    return this.#readSeed(names.meshKey, 'or import it again with `meshnode mesh import-key`');
  }

  saveMeshKey(seed: Uint8Array): Promise<void> {
    return this.#writeSeed(names.meshKey, seed);
  }

  /** The port that the node listened on last. A file that holds none counts as none. */
  async listenPort(): Promise<number | undefined> {
    const port = Number(await this.#read(names.listenPort, nodeLimits.secretFileBytes));
    return Number.isInteger(port) && port > 0 && port <= 65_535 ? port : undefined;
  }

  saveListenPort(port: number): Promise<void> {
    return this.#write(names.listenPort, `${port}\n`);
  }

  /** Forgets the mesh, its key too, and what a crash left of either. The node stays the peer it is. */
  async forgetMesh(): Promise<void> {
    await attempt(this.#path, async () => {
      for (const name of [names.membership, names.meshKey]) {
        await fileSystem.rm(join(this.#path, name), { force: true });
        await removeLeftOvers(join(this.#path, name));
      }
    });
  }

  async #readSeed(name: string, otherwise: string): Promise<Uint8Array | undefined> {
    const text = await this.#read(name, nodeLimits.secretFileBytes);
    if (text === undefined) {
      return undefined;
    }
    const seed = bytes.safeParse(text.trim()).data;
    if (seed?.length !== seedBytes) {
      throw this.#damaged(name, 'it holds no key', otherwise);
    }
    return seed;
  }

  #writeSeed(name: string, seed: Uint8Array): Promise<void> {
    return this.#write(name, `${asText(seed)}\n`);
  }

  async #read(name: string, mostBytes: number): Promise<string | undefined> {
    const path = join(this.#path, name);
    try {
      const { size } = await fileSystem.stat(path);
      if (size > mostBytes) {
        throw this.#damaged(name, `it is larger than ${mostBytes} bytes`, 'or delete it');
      }
      return await fileSystem.readFile(path, 'utf8');
    } catch (cause) {
      if (systemErrorCode(cause) === 'ENOENT') {
        return undefined;
      }
      return attempt(this.#path, () => Promise.reject(cause));
    }
  }

  async #write(name: string, content: string): Promise<void> {
    await attempt(this.#path, () => replaceFile(join(this.#path, name), content));
  }

  #damaged(name: string, why: string, otherwise: string): MeshnodeError {
    return new MeshnodeError('config_invalid', `${join(this.#path, name)} is damaged: ${why}.`, {
      hint: `Put back a copy of the file, ${otherwise}.`,
    });
  }
}

const rejoin = 'or run `meshnode leave` and join again with a new invite';

function asText(content: Uint8Array): string {
  return Buffer.from(content).toString('base64url');
}

function parseOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
