// A reader that stops for ten seconds and then takes 256 MiB, over each transport: nothing is lost, nobody's
// memory grows with it. Sender and reader are processes of their own.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { markdownTable } from '../support/markdown-table.ts';
import { progress, type TrialResult } from './trial.ts';

const MiB = 1024 * 1024;
const rounds = 3;

export const plan = { sizeBytes: 256 * MiB, pauseMs: 10_000 } as const;

/** Most that either process may grow: windows, buffers, and what the collector has not looked at yet. */
const mostGrownBytes = 96 * MiB;

/** What a side reports at its end. */
export interface SideReport {
  readonly bytes: number;
  readonly grownBytes: number;
  /** SHA-256 of all bytes, hex. */
  readonly digest: string;
}

/** What the reader says first. */
interface Whereabouts {
  readonly peerId: string;
  readonly addresses: readonly string[];
}

export async function trialSlowReader(): Promise<TrialResult> {
  const rows = [['path', 'round', 'received MiB', 'same bytes', 'reader grew MiB', 'sender grew MiB']];
  let held = true;
  for (const path of ['quic', 'tcp'] as const) {
    for (let round = 1; round <= rounds; round++) {
      const { reader, sender } = await runRound(path);
      const same = reader.digest === sender.digest && reader.bytes === plan.sizeBytes;
      held = held && same && Math.max(reader.grownBytes, sender.grownBytes) <= mostGrownBytes;
      const mebibytes = (bytes: number): string => (bytes / MiB).toFixed(0);
      const grown = [reader, sender].map(({ grownBytes }) => mebibytes(grownBytes));
      rows.push([path, String(round), mebibytes(reader.bytes), same ? 'yes' : 'NO', ...grown]);
      progress(`slow-reader: ${path}, round ${round} of ${rounds}`);
    }
  }
  const note = `A reader stops for ${plan.pauseMs / 1000} s. Growth may be ${mostGrownBytes / MiB} MiB at most.`;
  return { held, report: [markdownTable(rows), '', note, ''].join('\n') };
}

async function runRound(path: 'quic' | 'tcp'): Promise<{ reader: SideReport; sender: SideReport }> {
  const readerProcess = startSide('reader', path);
  const { peerId, addresses } = await messageOf<Whereabouts>(readerProcess);
  const senderProcess = startSide('sender', path, peerId, ...addresses);
  const [reader, sender] = await Promise.all([
    messageOf<SideReport>(readerProcess),
    messageOf<SideReport>(senderProcess),
  ]);
  await Promise.all([readerProcess, senderProcess].map((side) => once(side, 'exit')));
  return { reader, sender };
}

/** The next thing a side says; its end instead is a failure of the trial. */
function messageOf<Message>(side: ChildProcess): Promise<Message> {
  const ended = once(side, 'exit').then(([code]) => {
    throw new Error(`A side of the trial ended early (${code}).`);
  });
  const said = once(side, 'message').then(([message]) => message as Message);
  return Promise.race([said, ended]);
}

function startSide(...args: string[]): ChildProcess {
  return fork(fileURLToPath(new URL('slow-reader-side.ts', import.meta.url)), args);
}
