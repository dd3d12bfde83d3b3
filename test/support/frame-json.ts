// Frames as JSON a person can read: bytes as { "hex": "00ff" }, vectors as { "float32": [1, 2] }.
import type { InferFrame } from '../../src/inference/frames.ts';

/** The frame in a JSON text. */
export function frameFromJson(json: string): InferFrame {
  return JSON.parse(json, (_key, value: unknown) => {
    if (typeof value === 'object' && value !== null) {
      if ('hex' in value) {
        return Uint8Array.from(Buffer.from(String(value.hex), 'hex'));
      }
      if ('float32' in value && Array.isArray(value.float32)) {
        return Float32Array.from(value.float32);
      }
    }
    return value;
  }) as InferFrame;
}
