// The vectors of records and mesh messages: values a person can read, with the bytes they are written as.
import { readFileSync } from 'node:fs';
import type { MeshMessage } from '../../src/mesh/message.ts';
import type { PeerRecord } from '../../src/mesh/record.ts';

interface MeshVectors {
  /** Records, with the payload of their envelopes and the key that signs them. */
  readonly records: readonly {
    readonly name: string;
    readonly record: PeerRecord;
    readonly signer: Uint8Array;
    readonly payload: Uint8Array;
  }[];
  readonly messages: readonly {
    readonly name: string;
    readonly message: MeshMessage;
    readonly bytes: Uint8Array;
  }[];
}

/** test/fixtures/mesh-messages.json. Bytes are there as `{ "hex": "00ff" }`. */
export function meshVectors(): MeshVectors {
  const json = readFileSync('test/fixtures/mesh-messages.json', 'utf8');
  return JSON.parse(json, (_key, value: unknown) =>
    typeof value === 'object' && value !== null && 'hex' in value
      ? Uint8Array.from(Buffer.from(String(value.hex), 'hex'))
      : value,
  ) as MeshVectors;
}
