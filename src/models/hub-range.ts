// A file of the hub as bytes by range: what a model says of itself is read without bringing the model here.
import { MeshnodeError } from '../util/errors.ts';
import { type DownloadParts, withRetries } from './download-retry.ts';
import type { HubConnection } from './hub-connection.ts';
import type { HubFile } from './hub-transfer.ts';
import type { RangeSource } from './range-source.ts';

/** Reads of it reject with `download_denied`, `download_not_found`, `download_failed` or the signal's reason. */
export function hubRange(
  url: string,
  file: HubFile,
  hub: HubConnection,
  parts: DownloadParts,
  signal: AbortSignal,
): RangeSource {
  return {
    sizeBytes: file.sizeBytes,
    read: (offset, length) =>
      withRetries(parts, signal, () => readOnce(url, file, { offset, length }, hub, signal)),
  };
}

async function readOnce(
  url: string,
  file: HubFile,
  { offset, length }: { offset: number; length: number },
  hub: HubConnection,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const end = Math.min(offset + length, file.sizeBytes);
  const answer = await hub.request(url, {
    headers: { range: `bytes=${offset}-${end - 1}` },
    subject: `${file.repository}/${file.path}`,
    signal,
  });
  // A whole file instead of the part would be read to its end by nobody.
  if (answer.status !== 206 || !answer.headers.get('content-range')?.startsWith(`bytes ${offset}-`)) {
    await answer.discard();
    throw new MeshnodeError('download_failed', `The hub gives no parts of ${file.path}.`, {
      hint: 'Download the model first: `meshnode models pull`.',
    });
  }
  const bytes = new Uint8Array(end - offset);
  let filled = 0;
  for await (const chunk of answer.chunks) {
    const taken = chunk.subarray(0, bytes.length - filled);
    bytes.set(taken, filled);
    filled += taken.length;
  }
  if (filled < bytes.length) {
    throw new MeshnodeError('download_failed', `The hub gave too little of ${file.path}.`);
  }
  return bytes;
}
