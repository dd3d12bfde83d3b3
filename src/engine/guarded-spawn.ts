// Starts a program so that it cannot outlive this node, however the node ends. The program leads its own
// process group; a watcher in that group holds the reading end of a pipe whose writing end is ours. When
// the pipe closes, and the kernel closes it even after kill -9, the watcher kills the group.
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';

/**
 * Run by sh with the program and its arguments as positional parameters: nothing is pasted into the text.
 * The watcher is forked twice, so it is no child of the program, which then takes the place of the shell:
 * its process id, exit code and signal are what Node sees. File descriptor 3 is the pipe; 4, where there
 * is one, is the message channel, which only the program may hold open. The watcher ignores the signals
 * that ask a group to end, since the program may still refuse to.
 */
const guard = `
( trap '' TERM INT HUP
  { read -r gone <&3; kill -KILL 0; } 4<&- >/dev/null 2>&1 & )
exec 3<&-
exec "$@"
`;

export interface GuardedOptions {
  readonly env: Record<string, string | undefined>;
  readonly cwd?: string;
  /** Whether the program is a Node.js module of ours that talks over a message channel. */
  readonly channel: boolean;
}

/**
 * Starts `command`; its standard input is empty, standard output and error are pipes. On Windows, which
 * has neither sh nor process groups, only the message channel binds the process to the node.
 */
export function guardedSpawn(
  command: string,
  args: readonly string[],
  options: GuardedOptions,
): ChildProcess {
  const posix = process.platform !== 'win32';
  const spawnOptions: SpawnOptions = {
    env: options.env,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    stdio: [
      'ignore',
      'pipe',
      'pipe',
      posix ? 'pipe' : 'ignore',
      ...(options.channel ? ['ipc' as const] : []),
    ],
    serialization: 'advanced',
    detached: posix,
    windowsHide: true,
  };
  return posix
    ? spawn('/bin/sh', ['-c', guard, 'meshnode-guard', command, ...args], spawnOptions)
    : spawn(command, [...args], spawnOptions);
}

/** Sends a signal to a program started by guardedSpawn and everything in its group; no error if all are gone. */
export function signalGroup(leader: number, signal: NodeJS.Signals): void {
  try {
    process.kill(process.platform === 'win32' ? leader : -leader, signal);
  } catch {
    // ESRCH: nobody is left. EPERM on macOS: only zombies are.
  }
}
