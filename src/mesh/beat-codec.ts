// The messages of `/meshnode/heartbeat/1` and back: shapes and bounds of each field.
import { beatLimits as limits, recordLimits } from '../util/limits/mesh.ts';
import type { BeatMessage, ModelLoadMessage, ProbeMessage } from '../wire/mesh-messages.ts';
import { keyOf } from './fact-codec.ts';
import { FieldReader } from './field-reader.ts';
import type { Beat, BeatAnswer, Probe, ProbeAnswer } from './message.ts';
import type { ModelLoad } from './model-load.ts';

const fields = new FieldReader('frame_invalid', 'A beat');

export function messageOfBeat({ nonce, loads }: Beat | BeatAnswer): BeatMessage {
  return { nonce, loads: [...loads] };
}

/** Throws `frame_invalid`, `data.field` naming what is at fault. */
export function beatOfMessage<Type extends 'beat' | 'beat-answer'>(
  type: Type,
  { nonce, loads }: BeatMessage,
): { type: Type } & Pick<Beat, 'nonce' | 'loads'> {
  const read = fields.list('loads', loads, limits.loads, loadOfMessage);
  return { type, nonce: nonceOf(nonce), loads: fields.distinct('loads', read, ({ model }) => model) };
}

export function messageOfProbe({ nonce, subject }: Probe): ProbeMessage {
  return { nonce, peerKey: keyOf('subject', subject) };
}

/** Throws `frame_invalid`, as the others. */
export function probeOfMessage({ nonce, peerKey }: ProbeMessage): Probe {
  return { type: 'probe', nonce: nonceOf(nonce), subject: fields.peerId('subject', peerKey) };
}

export function probeAnswerOfMessage({ nonce }: { nonce?: Uint8Array | null }): ProbeAnswer {
  return { type: 'probe-answer', nonce: nonceOf(nonce) };
}

function loadOfMessage(message: ModelLoadMessage, path: string): ModelLoad {
  return {
    model: fields.name(`${path}.model`, message.model, recordLimits.modelNameBytes),
    inFlight: fields.count(`${path}.inFlight`, message.inFlight),
    queued: fields.count(`${path}.queued`, message.queued),
    slots: fields.count(`${path}.slots`, message.slots),
    tokensPerSecond: fields.amount(`${path}.tokensPerSecond`, message.tokensPerSecond),
  };
}

/** A copy: it is kept for longer than the message. */
function nonceOf(sent: Uint8Array | null | undefined): Uint8Array {
  return Uint8Array.from(fields.bytes('nonce', sent, limits.nonceBytes));
}
