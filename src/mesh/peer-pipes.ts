// The messages between this node and each peer: in order, over one stream a protocol and direction, opened when
// there is something to say. What cannot be delivered is dropped; the membership machine expects no answer. What
// answers a message goes by the link that this came by: behind another there may be another process with the peer's key.
import { FrameStream } from '../net/frame-stream.ts';
import type { Network, PeerStream } from '../net/network.ts';
import { protocols } from '../trust/gate.ts';
import type { PeerId } from '../trust/keys.ts';
import { background } from '../util/async.ts';
import type { Clock } from '../util/clock.ts';
import { asMeshnodeError, MeshnodeError } from '../util/errors.ts';
import { pipeLimits } from '../util/limits/mesh.ts';
import type { Logger } from '../util/logging.ts';
import type { MeshMessage } from './message.ts';
import { encodeMessage, readMessage } from './message-codec.ts';

export type PipeProtocol = typeof protocols.join | typeof protocols.gossip | typeof protocols.heartbeat;

export interface PeerPipesInit {
  readonly network: Network;
  readonly clock: Clock;
  readonly log: Logger;
  /** Takes what a peer says; `link` is the id of the link by which it came. */
  readonly deliver: (peer: PeerId, message: MeshMessage, link: string) => void;
  /** What was sent to a peer last may not have arrived: a stream to it broke. */
  readonly onLost: (peer: PeerId) => void;
  /** Whether this node has admitted a peer: before that it has little to say. */
  readonly isAdmitted: (peer: PeerId) => boolean;
  /** Resolves once both sides have admitted each other: what a peer says on join comes before its gossip. */
  readonly whenUp: (peer: PeerId, signal: AbortSignal) => Promise<void>;
}

interface Pipe {
  readonly peer: PeerId;
  readonly protocol: PipeProtocol;
  /** Id of the link that it is to take, if it was made for one. */
  readonly wanted: string | undefined;
  readonly queue: Uint8Array[];
  queuedBytes: number;
  stream: PeerStream | undefined;
  /** Settles when the queue has run dry or the pipe is broken. Never rejects. */
  running: Promise<void>;
}

export class PeerPipes {
  readonly #init: PeerPipesInit;
  readonly #pipes = new Map<PeerId, Set<Pipe>>();
  readonly #stopping = new AbortController();

  constructor(init: PeerPipesInit) {
    this.#init = init;
    const { network } = init;
    const options = { streamsPerPeer: pipeLimits.streamsPerPeer };
    network.handle(protocols.join, (stream) => this.#receive(stream), options);
    network.handle(protocols.gossip, (stream) => this.#receive(stream), options);
    network.handle(protocols.heartbeat, (stream) => this.#receive(stream), options);
  }

  /**
   * Queues a message, for the link with the id `link` if it answers what came by that. A peer that does not read for
   * long loses what waits for it; of beats it misses some, for a late one says nothing.
   */
  send(peer: PeerId, protocol: PipeProtocol, message: MeshMessage, link?: string): void {
    const pipe = this.#pipeFor(peer, protocol, link);
    if (pipe.queuedBytes > pipeLimits.queuedBytes) {
      pipe.stream?.abort(new MeshnodeError('stream_broken', 'The peer does not read what it is told.'));
      return;
    }
    if (protocol === protocols.heartbeat && pipe.queue.length >= pipeLimits.queuedBeats) {
      return;
    }
    const bytes = encodeMessage(message);
    pipe.queue.push(bytes);
    pipe.queuedBytes += bytes.length;
    if (pipe.queue.length === 1) {
      pipe.running = pipe.running.then(() => this.#run(pipe));
    }
  }

  /** Resolves when what was queued for a peer has been sent or given up. */
  async drained(peer: PeerId): Promise<void> {
    await Promise.all([...(this.#pipes.get(peer) ?? [])].map(({ running }) => running));
  }

  /** A peer is out of reach: its streams are gone, and what waits goes with them. */
  drop(peer: PeerId): void {
    const pipes = this.#pipes.get(peer) ?? [];
    this.#pipes.delete(peer);
    for (const { stream } of pipes) {
      stream?.abort(new MeshnodeError('stream_broken', 'The peer is gone.'));
    }
  }

  stop(): void {
    this.#stopping.abort(new MeshnodeError('shutting_down', 'The node is stopping.'));
  }

  /**
   * The oldest that will do. So will one of which is not known yet what link it takes: most peers have one, and what is
   * said to them must keep its order. Where there are two, what goes astray is said again.
   */
  #pipeFor(peer: PeerId, protocol: PipeProtocol, link: string | undefined): Pipe {
    const pipes = this.#pipes.get(peer) ?? new Set();
    const isFor = (pipe: Pipe): boolean => {
      const taken = pipe.stream?.link ?? pipe.wanted;
      return pipe.protocol === protocol && (link === undefined || taken === undefined || taken === link);
    };
    const known = [...pipes].find(isFor);
    if (known !== undefined) {
      return known;
    }
    const pipe: Pipe = {
      peer,
      protocol,
      wanted: link,
      queue: [],
      queuedBytes: 0,
      stream: undefined,
      running: Promise.resolve(),
    };
    this.#pipes.set(peer, pipes.add(pipe));
    return pipe;
  }

  async #run(pipe: Pipe): Promise<void> {
    const { clock, log } = this.#init;
    const { peer, protocol } = pipe;
    const { signal } = this.#stopping;
    try {
      pipe.stream ??= await this.#open(pipe);
      const { messageBytes, messageMs } = pipeLimits;
      const frames = new FrameStream(pipe.stream, { messageBytes, messageMs }, clock);
      for (let next = pipe.queue[0]; next !== undefined; next = pipe.queue[0]) {
        await frames.writeBytes(next, { signal });
        pipe.queue.shift();
        pipe.queuedBytes -= next.length;
      }
    } catch (thrown) {
      log.debug({ err: thrown, peer, protocol }, 'messages to a peer were lost');
      pipe.stream?.abort(asMeshnodeError(thrown, 'stream_broken'));
      this.#broken(pipe);
    }
  }

  async #open(pipe: Pipe): Promise<PeerStream> {
    const { peer, protocol, wanted } = pipe;
    const options = { signal: this.#stopping.signal, ...(wanted === undefined ? {} : { link: wanted }) };
    const stream = await this.#init.network.open(peer, protocol, options);
    // It is never ended on purpose: when it closes, what was written last may have gone with it.
    void stream.closed.then(() => this.#broken(pipe));
    return stream;
  }

  #broken(pipe: Pipe): void {
    const { peer } = pipe;
    const pipes = this.#pipes.get(peer);
    if (pipes?.delete(pipe)) {
      if (pipes.size === 0) {
        this.#pipes.delete(peer);
      }
      if (!this.#stopping.signal.aborted) {
        this.#init.onLost(peer);
      }
    }
  }

  /** Hands on what a peer says until it ends. Whoever sends what is no message loses its links. */
  async #receive(stream: PeerStream): Promise<void> {
    const { clock, deliver, isAdmitted, whenUp, network, log } = this.#init;
    const { peer, protocol } = stream;
    if (protocol !== protocols.join) {
      await whenUp(peer, this.#stopping.signal);
    }
    const { strangerMessageBytes, messageBytes, messageMs } = pipeLimits;
    const frames = new FrameStream(stream, { messageBytes: strangerMessageBytes, messageMs }, clock);
    try {
      while (true) {
        if (isAdmitted(peer)) {
          frames.allow(messageBytes);
        }
        const bytes = await this.#next(frames);
        if (bytes === undefined) {
          return;
        }
        deliver(peer, readMessage(bytes), stream.link);
      }
    } catch (thrown) {
      if (asMeshnodeError(thrown).code === 'frame_invalid') {
        log.debug({ err: thrown, peer, protocol }, 'a peer speaks another protocol');
        background(network.disconnect(peer), 'disconnect', log);
      }
      throw thrown;
    }
  }

  #next(frames: FrameStream): Promise<Uint8Array | undefined> {
    return frames.readBytes({ signal: this.#stopping.signal, timeoutMs: Number.POSITIVE_INFINITY });
  }
}
