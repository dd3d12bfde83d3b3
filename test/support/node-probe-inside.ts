// Loaded into a node under test before the program itself (node-probe.ts): tells what no interface of the node tells,
// how many streams its peers hold open at once, and how much memory is really in use. It changes nothing of the node.
import { rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** As much of libp2p's muxer as is looked at: it tells of every inbound stream by an event, and lists those it holds. */
interface Muxer {
  readonly streams: readonly { readonly direction: 'inbound' | 'outbound' }[];
}

/** In the node's folder: where it is asked. */
export const probeSocket = 'probe.sock';

function answerAt(socketPath: string): void {
  setFlagsFromString('--expose-gc');
  const collectGarbage = runInNewContext('gc') as () => void;
  const streams = new StreamCensus();
  const answers: Readonly<Record<string, () => unknown>> = {
    '/live-bytes': () => {
      collectGarbage();
      const { heapUsed, external } = process.memoryUsage();
      return heapUsed + external;
    },
    '/streams': () => streams.counts,
    '/streams-anew': () => streams.begin(),
    '/longest-pause': longestPause(),
  };
  const server = createServer((request, response) => {
    response.end(JSON.stringify(answers[request.url ?? '']?.() ?? null));
  });
  server.on('connection', (socket) => socket.unref());
  // One that was killed has left it there.
  rmSync(socketPath, { force: true });
  server.listen(socketPath).unref();
}

/** Inbound streams of the connections that are new since the counting began. */
export interface StreamCounts {
  /** All that peers have begun, but for those that a muxer has refused by itself. */
  readonly begun: number;
  /** The most of them that one connection held at once. */
  readonly mostAtOnce: number;
}

class StreamCensus {
  counts: StreamCounts = { begun: 0, mostAtOnce: 0 };
  /** In which round each connection had its first stream. */
  readonly #rounds = new WeakMap<Muxer, number>();
  #round = 0;

  constructor() {
    const note = (muxer: Muxer): void => this.#note(muxer);
    const { dispatchEvent } = EventTarget.prototype;
    EventTarget.prototype.dispatchEvent = function (
      this: EventTarget & Partial<Muxer>,
      event: Event,
    ): boolean {
      // Counted after whoever listens has had the chance to turn the new stream away.
      const result = dispatchEvent.call(this, event);
      if (event.type === 'stream' && isMuxer(this)) {
        note(this);
      }
      return result;
    };
  }

  /** Counts anew; connections that had a stream before count no more. */
  begin(): void {
    this.#round++;
    this.counts = { begun: 0, mostAtOnce: 0 };
  }

  #note(muxer: Muxer): void {
    const round = this.#rounds.get(muxer) ?? this.#round;
    this.#rounds.set(muxer, round);
    if (round === this.#round) {
      const { begun, mostAtOnce } = this.counts;
      const held =
        muxer.streams.length > mostAtOnce
          ? muxer.streams.filter(({ direction }) => direction === 'inbound').length
          : 0;
      this.counts = { begun: begun + 1, mostAtOnce: Math.max(mostAtOnce, held) };
    }
  }
}

function isMuxer(target: Partial<Muxer>): target is Muxer {
  return Array.isArray(target.streams);
}

/** Milliseconds for which nothing of the node could run, at most, since this was last asked. */
function longestPause(): () => number {
  const delays = monitorEventLoopDelay({ resolution: 10 });
  delays.enable();
  return () => {
    const told = delays.max / 1e6;
    delays.reset();
    return told;
  };
}

const [, program = '', ...flags] = process.argv;
const folderFlag = flags.indexOf('--data-dir');

// The launcher also asks Node.js for its version, and a node may have other processes; none of them is asked.
if (program.endsWith('meshnode.mjs') && folderFlag !== -1) {
  answerAt(join(flags[folderFlag + 1] ?? '', probeSocket));
}
