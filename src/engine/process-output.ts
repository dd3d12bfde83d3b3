// What a child process printed: the last bytes, for error messages, and whole lines, for whoever reads
// them. Both are bounded, however much the process prints. It starts and ends nothing.
import { StringDecoder } from 'node:string_decoder';
import { engineLimits } from '../util/limits/engine.ts';

/** Keeps the last `engineLimits.logTailBytes` of what is added. */
export class LogTail {
  #kept: Buffer = Buffer.alloc(0);
  #cut = false;

  add(chunk: Buffer): void {
    const all = Buffer.concat([this.#kept, chunk]);
    this.#cut ||= all.length > engineLimits.logTailBytes;
    this.#kept = all.subarray(-engineLimits.logTailBytes);
  }

  /** The tail as text; if its beginning was dropped, it starts at a full line where there is one. */
  text(): string {
    const text = this.#kept.toString('utf8');
    return this.#cut ? text.slice(text.indexOf('\n') + 1) : text;
  }
}

/** Cuts a byte stream into lines without their ends (LF or CRLF). */
export class LineSplitter {
  readonly #decoder = new StringDecoder('utf8');
  readonly #onLine: (line: string) => void;
  #open = '';

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine;
  }

  add(chunk: Buffer): void {
    const lines = (this.#open + this.#decoder.write(chunk)).split('\n');
    this.#open = lines.pop() ?? '';
    for (const line of lines) {
      this.#hand(line.endsWith('\r') ? line.slice(0, -1) : line);
    }
    if (this.#open.length > engineLimits.logLineChars) {
      this.#hand(this.#open);
      this.#open = '';
    }
  }

  /** The stream has ended: a last line without its end is handed on too. */
  end(): void {
    const rest = this.#open + this.#decoder.end();
    this.#open = '';
    if (rest !== '') {
      this.#hand(rest);
    }
  }

  #hand(line: string): void {
    for (let from = 0; from === 0 || from < line.length; from += engineLimits.logLineChars) {
      this.#onLine(line.slice(from, from + engineLimits.logLineChars));
    }
  }
}
