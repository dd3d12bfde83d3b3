// Pure functions of the real code that every node of a simulation asks the same, and that are asked once for all.
import type { PeerRecord } from '../../src/mesh/record.ts';
import { readRecord } from '../../src/mesh/record-codec.ts';
import type { Readers } from '../../src/mesh/table.ts';
import { readEnvelope } from '../../src/trust/envelope.ts';
import type { MeshId, SignatureCheck } from '../../src/trust/keys.ts';

/** As `check`, but each question is put to it only once. */
export function rememberingCheck(check: SignatureCheck): SignatureCheck {
  const answers = new Map<string, boolean>();
  return (publicKey, message, signature) => {
    const question = latin1(signature) + latin1(publicKey) + latin1(message);
    const known = answers.get(question);
    if (known !== undefined) {
      return known;
    }
    const answer = check(publicKey, message, signature);
    answers.set(question, answer);
    return answer;
  };
}

/** As plainReaders for one mesh, but the same bytes become the same objects: what a thousand nodes hold is there once. */
export function rememberingReaders(mesh: MeshId): Readers {
  const envelope = rememberedByIdentity((bytes: Uint8Array) => readEnvelope(bytes, mesh));
  const records = new WeakMap<Uint8Array, PeerRecord>();
  return {
    envelope,
    // A payload is part of one envelope, which has one signer.
    record: (payload, signer) => {
      const record = records.get(payload) ?? readRecord(payload, signer);
      records.set(payload, record);
      return record;
    },
  };
}

/** As `make`, for values that do not change: the same object is asked about once. */
export function rememberedByIdentity<Value extends object, Made>(
  make: (value: Value) => Made,
): (value: Value) => Made {
  const made = new WeakMap<Value, { readonly it: Made }>();
  return (value) => {
    let known = made.get(value);
    if (known === undefined) {
      known = { it: make(value) };
      made.set(value, known);
    }
    return known.it;
  };
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}
