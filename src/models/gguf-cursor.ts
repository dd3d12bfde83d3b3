// A cursor over the header of a GGUF file: reads numbers and strings in order, and checks every length
// against the file's end and its bound before anything is allocated. Knows nothing of what it reads.
import { isUtf8 } from 'node:buffer';
import { MeshnodeError } from '../util/errors.ts';
import { ggufLimits } from '../util/limits/models.ts';
import type { GgufScalarType } from './gguf.ts';
import { scalarSizes } from './gguf.ts';
import type { RangeSource } from './range-source.ts';

/** `gguf_invalid`, naming the field at fault and where in the file it lies. */
export function ggufInvalid(path: string, field: string, offset: number, problem: string): MeshnodeError {
  return new MeshnodeError('gguf_invalid', `${path}: ${field} ${problem}.`, {
    data: { path, field, offset },
  });
}

export class GgufCursor {
  readonly #source: RangeSource;
  readonly #path: string;
  readonly #signal: AbortSignal | undefined;
  #window: Buffer = Buffer.alloc(0);
  /** File offset of the window's first byte. */
  #windowStart = 0;
  #position = 0;

  constructor(source: RangeSource, path: string, signal?: AbortSignal) {
    this.#source = source;
    this.#path = path;
    this.#signal = signal;
  }

  /** File offset of the next byte. */
  get position(): number {
    return this.#position;
  }

  /** The error for a field that begins at `offset`, by default here. */
  invalid(field: string, problem: string, offset = this.#position): MeshnodeError {
    return ggufInvalid(this.#path, field, offset, problem);
  }

  async uint32(field: string): Promise<number> {
    return (await this.#take(4, field)).readUInt32LE();
  }

  async uint64(field: string): Promise<bigint> {
    return (await this.#take(8, field)).readBigUInt64LE();
  }

  /** A u64 that counts something of which there may be at most `most`, each taking `elementBytes` or more. */
  async count(field: string, most: number, elementBytes: number): Promise<number> {
    const offset = this.#position;
    const count = await this.uint64(field);
    if (count > BigInt(most)) {
      throw this.invalid(field, `is ${count}, more than the allowed ${most}`, offset);
    }
    if (Number(count) * elementBytes > this.#source.sizeBytes - this.#position) {
      throw this.invalid(field, `is ${count}, more than the rest of the file can hold`, offset);
    }
    return Number(count);
  }

  /** One value of a fixed-size type. */
  async scalar(type: GgufScalarType, field: string): Promise<number | bigint | boolean> {
    const bytes = await this.#take(scalarSizes[type], field);
    switch (type) {
      case 'uint8':
        return bytes.readUInt8();
      case 'int8':
        return bytes.readInt8();
      case 'uint16':
        return bytes.readUInt16LE();
      case 'int16':
        return bytes.readInt16LE();
      case 'uint32':
        return bytes.readUInt32LE();
      case 'int32':
        return bytes.readInt32LE();
      case 'float32':
        return bytes.readFloatLE();
      case 'float64':
        return bytes.readDoubleLE();
      case 'uint64':
        return bytes.readBigUInt64LE();
      case 'int64':
        return bytes.readBigInt64LE();
      case 'bool':
        return bytes.readUInt8() !== 0;
    }
  }

  /** A string of at most `mostBytes`. With `strict` it must be UTF-8; else wrong bytes become U+FFFD. */
  async string(field: string, mostBytes: number, strict: boolean): Promise<string> {
    const length = await this.count(`${field}.length`, mostBytes, 1);
    const bytes = await this.#take(length, field);
    if (strict && !isUtf8(bytes)) {
      throw this.invalid(field, 'is not UTF-8', this.#position - length);
    }
    return bytes.toString('utf8');
  }

  /** Passes over `count` strings of at most `mostBytes` each. */
  async skipStrings(count: number, field: string, mostBytes: number): Promise<void> {
    for (let index = this.#skipBufferedStrings(count); index < count; ) {
      const length = await this.count(`${field}[${index}].length`, mostBytes, 1);
      this.skip(length, `${field}[${index}]`);
      index += 1;
      index += this.#skipBufferedStrings(count - index);
    }
  }

  /**
   * Passes over up to `count` strings that lie whole in the window, and tells how many: a vocabulary has
   * hundreds of thousands, too many to wait for each. A string that is too long never lies whole in it.
   */
  #skipBufferedStrings(count: number): number {
    const end = this.#windowStart + this.#window.length;
    for (let skipped = 0; skipped < count; skipped++) {
      if (this.#position < this.#windowStart || this.#position + 8 > end) {
        return skipped;
      }
      const length = Number(this.#window.readBigUInt64LE(this.#position - this.#windowStart));
      if (this.#position + 8 + length > end) {
        return skipped;
      }
      this.#position += 8 + length;
    }
    return count;
  }

  /** Passes over `length` bytes without reading them. */
  skip(length: number, field: string): void {
    this.#requireInFile(length, field);
    this.#position += length;
  }

  #requireInFile(length: number, field: string): void {
    const end = this.#position + length;
    if (end > this.#source.sizeBytes) {
      throw this.invalid(field, `lies beyond the end of the file (${this.#source.sizeBytes} bytes)`);
    }
    if (end > ggufLimits.headerBytes) {
      throw this.invalid(field, `lies beyond the largest allowed header (${ggufLimits.headerBytes} bytes)`);
    }
  }

  /** The next `length` bytes, valid until the next call. */
  async #take(length: number, field: string): Promise<Buffer> {
    this.#requireInFile(length, field);
    const start = this.#position - this.#windowStart;
    if (start < 0 || start + length > this.#window.length) {
      await this.#fill(length, field);
    }
    const from = this.#position - this.#windowStart;
    this.#position += length;
    return this.#window.subarray(from, from + length);
  }

  async #fill(length: number, field: string): Promise<void> {
    this.#signal?.throwIfAborted();
    const wanted = Math.max(length, ggufLimits.readBytes);
    const available = Math.min(wanted, this.#source.sizeBytes - this.#position);
    const bytes = await this.#source.read(this.#position, available);
    this.#signal?.throwIfAborted();
    if (bytes.length < length) {
      throw this.invalid(field, 'could not be read: the file became shorter');
    }
    this.#window = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#windowStart = this.#position;
  }
}
