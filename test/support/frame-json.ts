// Frames as JSON a person can read: bytes as { "hex": "00ff" }, vectors as { "float32": [1, 2] }.
import type { InferFrame } from '../../src/inference/frames.ts';

/** JSON text of a frame. */
export function frameToJson(frame: InferFrame): string {
  return JSON.stringify(frame, (_key, value: unknown) => {
    if (value instanceof Float32Array) {
      return { float32: [...value] };
    }
    return value instanceof Uint8Array ? { hex: Buffer.from(value).toString('hex') } : value;
  });
}

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
