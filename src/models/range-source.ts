// Bytes by range: all a parser may know of a file. Keeps no content; the file is read where asked.
import { type FileHandle, open } from 'node:fs/promises';
import { MeshnodeError, systemErrorCode } from '../util/errors.ts';

/** Something with a known size whose bytes can be read anywhere. */
export interface RangeSource {
  readonly sizeBytes: number;
  /** The bytes from `offset`; fewer than `length` only at the end. */
  read(offset: number, length: number): Promise<Uint8Array>;
}

/** An open file as a RangeSource. `close` when done. */
export interface FileRangeSource extends RangeSource {
  close(): Promise<void>;
}

/** Opens a file for reading by range. Throws `model_file_missing` if that cannot be done. */
export async function openFileRange(path: string): Promise<FileRangeSource> {
  const handle = await openModelFile(path);
  try {
    const { size } = await handle.stat();
    return {
      sizeBytes: size,
      read: (offset, length) => readFully(handle, offset, length),
      close: () => handle.close(),
    };
  } catch (cause) {
    await handle.close();
    throw cause;
  }
}

/** Opens a regular file. Throws `model_file_missing` with the system's reason. */
export async function openModelFile(path: string): Promise<FileHandle> {
  let handle: FileHandle;
  try {
    handle = await open(path, 'r');
  } catch (cause) {
    const reason = systemErrorCode(cause) ?? 'unknown error';
    throw new MeshnodeError('model_file_missing', `Cannot open ${path}: ${reason}.`, {
      data: { path },
      cause,
    });
  }
  if (!(await handle.stat()).isFile()) {
    await handle.close();
    throw new MeshnodeError('model_file_missing', `${path} is not a file.`, { data: { path } });
  }
  return handle;
}

async function readFully(handle: FileHandle, offset: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await handle.read(bytes, filled, length - filled, offset + filled);
    if (bytesRead === 0) {
      break;
    }
    filled += bytesRead;
  }
  return bytes.subarray(0, filled);
}
