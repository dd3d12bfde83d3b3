// Which port a node listens on for others: the one asked for, else the one it had last, else the first free one.
import { MeshnodeError } from '../util/errors.ts';
import { nodeLimits } from '../util/limits/node.ts';
import type { MeshFolder } from './mesh-folder.ts';

/**
 * Opens with `open` on the port that is to be. A port that the node chose itself is kept for the next start; one
 * that another program has taken meanwhile is given up. Rejects as `open` does.
 */
export async function listenOn<T>(
  wanted: number | undefined,
  folder: MeshFolder,
  open: (port: number) => Promise<T>,
): Promise<T> {
  if (wanted !== undefined) {
    return open(wanted);
  }
  const kept = await folder.listenPort();
  const { listenPort: first, listenPorts } = nodeLimits;
  const candidates = Array.from({ length: listenPorts }, (_, index) => first + index);
  for (const port of kept === undefined ? candidates : [kept, ...candidates]) {
    const opened = await unlessTaken(open(port));
    if (opened !== undefined) {
      if (port !== kept) {
        await folder.saveListenPort(port);
      }
      return opened;
    }
  }
  throw new MeshnodeError(
    'port_in_use',
    `No port from ${first} to ${first + listenPorts - 1} is free for other nodes.`,
    { hint: 'Choose one with --listen-port; 0 takes any free one.' },
  );
}

async function unlessTaken<T>(opening: Promise<T>): Promise<T | undefined> {
  try {
    return await opening;
  } catch (cause) {
    if (cause instanceof MeshnodeError && cause.code === 'port_in_use') {
      return undefined;
    }
    throw cause;
  }
}
