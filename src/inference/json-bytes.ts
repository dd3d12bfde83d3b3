// JSON objects as UTF-8 bytes inside frames.
import { MeshnodeError } from '../util/errors.ts';
import { isJsonObject, type JsonObject, parseJson } from '../util/json.ts';
import { requestLimits } from '../util/limits/inference.ts';

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true });

export function encodeJson(object: object): Uint8Array {
  return encoder.encode(JSON.stringify(object));
}

/** Throws `frame_invalid` unless the bytes are the UTF-8 JSON text of an object of sane depth. */
export function decodeJsonObject(bytes: Uint8Array): JsonObject {
  let value: unknown;
  try {
    value = parseJson(decoder.decode(bytes), requestLimits.jsonDepth);
  } catch (cause) {
    throw new MeshnodeError('frame_invalid', 'A frame holds broken JSON.', { cause });
  }
  if (!isJsonObject(value)) {
    throw new MeshnodeError('frame_invalid', 'A frame holds JSON that is not an object.');
  }
  return value;
}
