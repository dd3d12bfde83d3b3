// Reads the fields of decoded protobuf messages from strangers: presence, size, range. Every fault names its field.
import { keyBytes, keyText, type PeerId, peerIdOf } from '../trust/keys.ts';
import { type ErrorCode, MeshnodeError } from '../util/errors.ts';
import { recordLimits } from '../util/limits/mesh.ts';
import { addressKind } from './address.ts';
import { isShowable } from './shown-text.ts';

type Sent<T> = T | null | undefined;

export class FieldReader {
  readonly #code: ErrorCode;
  readonly #subject: string;

  /** Faults have `code`; `subject` is what they are faults of, e.g. `A record`. */
  constructor(code: ErrorCode, subject: string) {
    this.#code = code;
    this.#subject = subject;
  }

  /** The error that refuses a field: `why` goes on after its name. */
  fault(field: string, why: string): MeshnodeError {
    return new MeshnodeError(this.#code, `${this.#subject} is refused: \`${field}\` ${why}.`, {
      data: { field },
    });
  }

  /** Showable text of at most `mostBytes` in UTF-8; may be empty. */
  text(field: string, sent: Sent<string>, mostBytes: number): string {
    const text = sent ?? '';
    if (Buffer.byteLength(text) > mostBytes) {
      throw this.fault(field, `is longer than ${mostBytes} bytes`);
    }
    if (!isShowable(text)) {
      throw this.fault(field, 'holds characters that cannot be shown');
    }
    return text;
  }

  /** As `text`, but not empty. */
  name(field: string, sent: Sent<string>, mostBytes: number): string {
    const text = this.text(field, sent, mostBytes);
    if (text === '') {
      throw this.fault(field, 'is missing');
    }
    return text;
  }

  /** A whole number, exact in a double. */
  count(field: string, sent: Sent<number>, least = 0): number {
    const count = sent ?? 0;
    if (!Number.isSafeInteger(count) || count < least) {
      throw this.fault(field, `is not a whole number from ${least} to 2^53 - 1`);
    }
    return count;
  }

  /** A number, 0 or more, that a float32 can hold. */
  amount(field: string, sent: Sent<number>): number {
    const amount = sent ?? 0;
    if (!Number.isFinite(Math.fround(amount)) || amount < 0) {
      throw this.fault(field, 'is not a finite number of 0 or more');
    }
    return amount + 0; // -0 becomes 0.
  }

  /** Exactly `length` bytes, in the memory of the message. */
  bytes(field: string, sent: Sent<Uint8Array>, length: number): Uint8Array {
    if (sent?.length !== length) {
      throw this.fault(field, `has not ${length} bytes`);
    }
    return sent;
  }

  /** 1 to `mostBytes` bytes, in the memory of the message. */
  blob(field: string, sent: Sent<Uint8Array>, mostBytes: number): Uint8Array {
    if (sent == null || sent.length === 0 || sent.length > mostBytes) {
      throw this.fault(field, `has not 1 to ${mostBytes} bytes`);
    }
    return sent;
  }

  /** 32 bytes as hex. */
  hash(field: string, sent: Sent<Uint8Array>): string {
    return keyText(this.bytes(field, sent, keyBytes));
  }

  peerId(field: string, sent: Sent<Uint8Array>): PeerId {
    return peerIdOf(this.bytes(field, sent, keyBytes));
  }

  /** Those of the addresses that this version can dial; any other multiaddr is a later version's and left out. */
  addresses(field: string, sent: Sent<readonly string[]>): string[] {
    const all = this.list(field, sent, recordLimits.addresses, (address, path) => {
      const text = this.name(path, address, recordLimits.addressBytes);
      if (addressKind(text) === 'invalid') {
        throw this.fault(path, 'is no address');
      }
      return text;
    });
    return this.distinct(field, all, (address) => address).filter((text) => addressKind(text) === 'dialable');
  }

  /** At most `most` elements, each read with its own path. */
  list<Element, Value>(
    field: string,
    sent: Sent<readonly Element[]>,
    most: number,
    read: (element: Element, path: string) => Value,
  ): Value[] {
    const elements = sent ?? [];
    if (elements.length > most) {
      throw this.fault(field, `has more than ${most} elements`);
    }
    return elements.map((element, index) => read(element, `${field}[${index}]`));
  }

  /** The same list. Two values of one key are refused: nobody could tell which of them counts. */
  distinct<Value>(field: string, values: Value[], keyOf: (value: Value) => string): Value[] {
    const keys = new Set<string>();
    for (const [index, value] of values.entries()) {
      const key = keyOf(value);
      if (keys.has(key)) {
        throw this.fault(`${field}[${index}]`, 'was there before');
      }
      keys.add(key);
    }
    return values;
  }
}
