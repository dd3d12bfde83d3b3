// What the operating system says a process costs.
import { readFile } from 'node:fs/promises';

/** What a process holds, and has spent since it began. */
export interface Accounting {
  readonly residentBytes: number;
  readonly cpuSeconds: number;
}

/** The account of a process, from Linux; undefined elsewhere. */
export async function accounting(pid: number): Promise<Accounting | undefined> {
  try {
    const status = await readFile(`/proc/${pid}/status`, 'utf8');
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    const resident = /VmRSS:\s+(\d+) kB/.exec(status)?.[1];
    // Fields 14 and 15, in ticks of 10 ms; the name in field 2 may hold blanks.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return {
      residentBytes: Number(resident) * 1024,
      cpuSeconds: (Number(fields[11]) + Number(fields[12])) / 100,
    };
  } catch {
    return undefined;
  }
}
