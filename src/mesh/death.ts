// A neighbour's signed verdict that a node is gone. One verdict is an opinion; the table counts them, and any
// newer record of the subject refutes them.

import { type Envelope, seal } from '../trust/envelope.ts';
import { type KeyPair, type MeshId, type PeerId, peerIdOf, publicKeyOf } from '../trust/keys.ts';
import { assertInvariant, MeshnodeError } from '../util/errors.ts';
import { meshLimits, recordLimits } from '../util/limits/mesh.ts';
import { decodeMessage } from '../wire/framing.ts';
import { Death as DeathCodec } from '../wire/mesh-messages.ts';
import type { RecordVersion } from './version.ts';

/** Which announcement of which node its author takes for the last. */
export interface Death extends RecordVersion {
  readonly subject: PeerId;
  readonly author: PeerId;
  readonly atMs: number;
  /** The end of the record it speaks of: afterwards nobody needs the verdict. */
  readonly expiresMs: number;
}

export function sealDeath(death: Omit<Death, 'author'>, meshId: MeshId, author: KeyPair): Envelope {
  const peerKey = publicKeyOf(death.subject);
  assertInvariant(peerKey !== undefined, 'the subject of a verdict has a key');
  const { epoch, sequence, atMs, expiresMs } = death;
  const payload = DeathCodec.encode({ peerKey, epoch, sequence, atMs, expiresMs }).finish();
  return seal('death', meshId, payload, author);
}

/** Throws `record_invalid` if the payload is no verdict. */
export function readDeath(payload: Uint8Array, signer: Uint8Array): Death {
  if (payload.length > meshLimits.deathBytes) {
    throw new MeshnodeError('record_invalid', `A verdict is longer than ${meshLimits.deathBytes} bytes.`);
  }
  const { peerKey, epoch, sequence, atMs, expiresMs } = decode(payload);
  if (peerKey?.length !== 32 || !isCount(epoch, 1) || !isCount(sequence, 0)) {
    throw new MeshnodeError('record_invalid', 'A verdict names no announcement.');
  }
  if (!isCount(atMs, 0) || !isCount(expiresMs, 0) || expiresMs - atMs > recordLimits.lifeMs) {
    throw new MeshnodeError('record_invalid', 'A verdict has no possible time.');
  }
  return { subject: peerIdOf(peerKey), author: peerIdOf(signer), epoch, sequence, atMs, expiresMs };
}

function decode(payload: Uint8Array): InstanceType<typeof DeathCodec> {
  try {
    return decodeMessage(DeathCodec, payload);
  } catch (cause) {
    throw new MeshnodeError('record_invalid', 'A verdict is no protobuf message.', { cause });
  }
}

function isCount(value: number | null | undefined, least: number): value is number {
  return Number.isSafeInteger(value) && Number(value) >= least;
}
