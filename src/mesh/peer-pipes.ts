// The messages between this node and each peer: in order, over one stream a protocol and direction, opened when
// there is something to say. What cannot be delivered is dropped; the membership machine expects no answer.
import { FrameStream } from '../net/frame-stream.ts';
import type { Network, PeerStream } from '../net/network.ts';
import { protocols } from '../trust/gate.ts';
import type { PeerId } from '../trust/keys.ts';
import { background } from '../util/async.ts';
import type { Clock } from '../util/clock.ts';
import { asMeshnodeError, MeshnodeError } from '../util/errors.ts';
import { pipeLimits } from '../util/limits.ts';
import type { Logger } from '../util/logging.ts';
import type { MeshMessage } from './message.ts';
import { encodeMessage, readMessage } from './message-codec.ts';

export type PipeProtocol = typeof protocols.join | typeof protocols.gossip;

export interface PeerPipesInit {
  readonly network: Network;
  readonly clock: Clock;
  readonly log: Logger;
  readonly deliver: (peer: PeerId, message: MeshMessage) => void;
  /** What was sent to a peer last may not have arrived: a stream to it broke. */
  readonly onLost: (peer: PeerId) => void;
  /** Whether this node has admitted a peer: before that it has little to say. */
  readonly isAdmitted: (peer: PeerId) => boolean;
  /** Resolves once both sides have admitted each other: what a peer says on join comes before its gossip. */
  readonly whenUp: (peer: PeerId, signal: AbortSignal) => Promise<void>;
}

interface Pipe {
  readonly queue: Uint8Array[];
  queuedBytes: number;
  stream: PeerStream | undefined;
  /** Settles when the queue has run dry or the pipe is broken. Never rejects. */
  running: Promise<void>;
}

export class PeerPipes {
  readonly #init: PeerPipesInit;
  /** By protocol and peer. */
  readonly #pipes = new Map<string, Pipe>();
  readonly #stopping = new AbortController();

  constructor(init: PeerPipesInit) {
    this.#init = init;
    const { network } = init;
    const options = { streamsPerPeer: pipeLimits.streamsPerPeer };
    network.handle(protocols.join, (stream) => this.#receive(stream), options);
    network.handle(protocols.gossip, (stream) => this.#receive(stream), options);
  }

  /** Queues a message. A peer that does not read for long loses what waits for it. */
  send(peer: PeerId, protocol: PipeProtocol, message: MeshMessage): void {
    const key = `${protocol} ${peer}`;
    const pipe = this.#pipes.get(key) ?? this.#newPipe(key);
    if (pipe.queuedBytes > pipeLimits.queuedBytes) {
      pipe.stream?.abort(new MeshnodeError('stream_broken', 'The peer does not read what it is told.'));
      return;
    }
    const bytes = encodeMessage(message);
    pipe.queue.push(bytes);
    pipe.queuedBytes += bytes.length;
    if (pipe.queue.length === 1) {
      pipe.running = pipe.running.then(() => this.#run(key, pipe, peer, protocol));
    }
  }

  /** Resolves when what was queued for a peer has been sent or given up. */
  async drained(peer: PeerId): Promise<void> {
    const pipes = [protocols.join, protocols.gossip].map((protocol) =>
      this.#pipes.get(`${protocol} ${peer}`),
    );
    await Promise.all(pipes.map((pipe) => pipe?.running));
  }

  /** A peer is out of reach: its streams are gone, and what waits goes with them. */
  drop(peer: PeerId): void {
    for (const protocol of [protocols.join, protocols.gossip]) {
      const key = `${protocol} ${peer}`;
      this.#pipes.get(key)?.stream?.abort(new MeshnodeError('stream_broken', 'The peer is gone.'));
      this.#pipes.delete(key);
    }
  }

  stop(): void {
    this.#stopping.abort(new MeshnodeError('shutting_down', 'The node is stopping.'));
  }

  #newPipe(key: string): Pipe {
    const pipe: Pipe = { queue: [], queuedBytes: 0, stream: undefined, running: Promise.resolve() };
    this.#pipes.set(key, pipe);
    return pipe;
  }

  async #run(key: string, pipe: Pipe, peer: PeerId, protocol: PipeProtocol): Promise<void> {
    const { clock, log } = this.#init;
    const { signal } = this.#stopping;
    try {
      pipe.stream ??= await this.#open(key, pipe, peer, protocol);
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
      this.#broken(key, pipe, peer);
    }
  }

  async #open(key: string, pipe: Pipe, peer: PeerId, protocol: PipeProtocol): Promise<PeerStream> {
    const stream = await this.#init.network.open(peer, protocol, { signal: this.#stopping.signal });
    // It is never ended on purpose: when it closes, what was written last may have gone with it.
    void stream.closed.then(() => this.#broken(key, pipe, peer));
    return stream;
  }

  #broken(key: string, pipe: Pipe, peer: PeerId): void {
    if (this.#pipes.get(key) === pipe) {
      this.#pipes.delete(key);
      if (!this.#stopping.signal.aborted) {
        this.#init.onLost(peer);
      }
    }
  }

  /** Hands on what a peer says until it ends. Whoever sends what is no message loses its links. */
  async #receive(stream: PeerStream): Promise<void> {
    const { clock, deliver, isAdmitted, whenUp, network, log } = this.#init;
    const { peer, protocol } = stream;
    if (protocol === protocols.gossip) {
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
        deliver(peer, readMessage(bytes));
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
