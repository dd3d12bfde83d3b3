// What the operating system says of a process by its id: who it is, how much memory it holds. Read only.
import { readFile } from 'node:fs/promises';
import { runCommand } from './run-command.ts';

/**
 * A text that no other process of this machine ever has, although ids are reused: on Linux the boot and
 * the start time in clock ticks, elsewhere the start time as `ps` prints it. Undefined if there is no
 * such process, or only the remains of one (a zombie).
 */
export async function processIdentity(pid: number): Promise<string | undefined> {
  if (process.platform !== 'linux') {
    return identityFromPs(pid);
  }
  const [boot, stat] = await Promise.all([
    readOrUndefined('/proc/sys/kernel/random/boot_id'),
    readOrUndefined(`/proc/${pid}/stat`),
  ]);
  const start = stat === undefined ? undefined : startTicks(stat);
  return start === undefined ? undefined : `${boot?.trim()}:${start}`;
}

/** Resident memory of a process, bytes; undefined if there is no such process. */
export async function processResidentBytes(pid: number): Promise<number | undefined> {
  const kibibytes =
    process.platform === 'linux'
      ? /^VmRSS:\s+(\d+) kB$/m.exec((await readOrUndefined(`/proc/${pid}/status`)) ?? '')?.[1]
      : /^\s*(\d+)\s*$/.exec(await ps(pid, 'rss='))?.[1];
  return kibibytes === undefined ? undefined : Number(kibibytes) * 1024;
}

/**
 * Field 22 of /proc/PID/stat, undefined for a zombie. Field 2, the program's name in parentheses, may
 * itself hold spaces and parentheses, so counting starts behind the last one.
 */
export function startTicks(stat: string): string | undefined {
  const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return state === 'Z' || state === 'X' ? undefined : fields[18];
}

async function identityFromPs(pid: number): Promise<string | undefined> {
  const [state, ...start] = (await ps(pid, 'state=,lstart=')).trim().split(/\s+/);
  return state === undefined || state === '' || state.startsWith('Z') ? undefined : start.join(' ');
}

async function ps(pid: number, columns: string): Promise<string> {
  const result = await runCommand('ps', ['-o', columns, '-p', String(pid)]);
  return result.outcome === 'done' ? result.stdout : '';
}

async function readOrUndefined(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    return undefined;
  }
}
