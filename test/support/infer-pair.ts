// Two nodes in memory with `/meshnode/infer/1` between them: an asking one, and one whose answers a test scripts and
// whose streams it counts. The link between them can be cut.
import { askPeer, type PeerAsk } from '../../src/dispatch/infer/ask-peer.ts';
import { InferServer } from '../../src/dispatch/infer/infer-server.ts';
import type { InferenceEvent } from '../../src/inference/events.ts';
import { type ChatRequest, type InferenceRequest, plainOutput } from '../../src/inference/request.ts';
import type { PeerStream, StreamHandler } from '../../src/net/network.ts';
import { protocols } from '../../src/trust/gate.ts';
import type { PeerId } from '../../src/trust/keys.ts';
import { type Clock, systemClock } from '../../src/util/clock.ts';
import { silentLogger } from '../../src/util/logging.ts';
import { seededRandom } from '../../src/util/random.ts';
import { type InProcessNetwork, InProcessNetworks } from './in-process-network.ts';
import { textAnswer } from './scripted-dispatch.ts';

/** The events of an answer; a generator may wait for the signal. */
export type AnswerScript = (
  request: InferenceRequest,
  signal: AbortSignal,
) => Iterable<InferenceEvent> | AsyncIterable<InferenceEvent>;

/** One request that came in. */
export interface AnswerCall {
  readonly peer: PeerId;
  readonly request: InferenceRequest;
  readonly signal: AbortSignal;
  /** Events read so far. */
  pulled: number;
  isClosed: boolean;
  /** Resolves when the answer was read to its end or closed. */
  readonly closed: Promise<void>;
}

export interface InferPairOptions {
  readonly clock?: Clock;
  readonly script?: AnswerScript;
  /** Serves the protocol instead of an InferServer. */
  readonly handler?: StreamHandler;
}

const callerId = 'caller';
const serverId = 'server';

export class InferPair {
  readonly clock: Clock;
  readonly calls: AnswerCall[] = [];
  /** Streams the caller has opened and that are not closed. */
  readonly open = new Set<PeerStream>();
  /** Streams the caller has opened, the closed ones included. */
  opened = 0;
  /** Put between the caller and each stream it opens. */
  wrap: (stream: PeerStream) => PeerStream = (stream) => stream;
  script: AnswerScript;
  readonly server: InferServer | undefined;
  readonly caller: InProcessNetwork;
  readonly served: InProcessNetwork;
  readonly #networks: InProcessNetworks;
  readonly #random = seededRandom(1);
  #relinking: Promise<void> = Promise.resolve();

  constructor({
    clock = systemClock,
    script = () => textAnswer('Hello', ' world'),
    handler,
  }: InferPairOptions) {
    this.clock = clock;
    this.script = script;
    this.#networks = new InProcessNetworks(clock);
    this.caller = this.#networks.create({ peerId: callerId });
    this.served = this.#networks.create({ peerId: serverId });
    if (handler === undefined) {
      const { served: network } = this;
      const answer = (peer: PeerId, request: InferenceRequest, signal: AbortSignal) =>
        this.#answer(peer, request, signal);
      this.server = new InferServer({ network, answer, clock, log: silentLogger });
    } else {
      this.served.handle(protocols.infer, handler, { streamsPerPeer: 1024 });
    }
  }

  static async linked(options: InferPairOptions = {}): Promise<InferPair> {
    const pair = new InferPair(options);
    await pair.link();
    return pair;
  }

  /** What the caller gets for a request. */
  ask(ask: Partial<PeerAsk> = {}): AsyncGenerator<InferenceEvent, void, undefined> {
    const { clock } = this;
    const never = new AbortController().signal;
    return askPeer(
      { peer: serverId, request: chatRequest(), signal: never, lost: never, patienceMs: 0, ...ask },
      {
        open: (peer, signal) => this.#open(peer, signal),
        clock,
        random: this.#random,
        log: silentLogger,
      },
    );
  }

  /** A stream as the caller's node opens it, to say anything on. `as`: by another node, which is linked first. */
  async rawStream(as?: PeerId): Promise<PeerStream> {
    const network = as === undefined ? this.caller : this.#networks.create({ peerId: as });
    await network.dial(serverId, this.served.addresses());
    return await network.open(serverId, protocols.infer);
  }

  cut(): void {
    this.#networks.cut(callerId, serverId);
  }

  async link(): Promise<void> {
    this.#networks.heal(callerId, serverId);
    await this.caller.dial(serverId, this.served.addresses());
  }

  /** Cuts the link; whoever opens a stream afterwards finds a new one. */
  relink(): void {
    this.cut();
    this.#relinking = this.link();
  }

  /** The latest request; throws if there was none. */
  get lastCall(): AnswerCall {
    const call = this.calls.at(-1);
    if (call === undefined) {
      throw new Error('nothing was asked');
    }
    return call;
  }

  /** Whether nothing is left of any request at either end. */
  get isQuiet(): boolean {
    const { answers = 0, detached = 0, keptBytes = 0 } = this.server?.figures() ?? {};
    return (
      answers === 0 &&
      detached === 0 &&
      keptBytes === 0 &&
      this.open.size === 0 &&
      this.calls.every(({ isClosed }) => isClosed)
    );
  }

  async #open(peer: PeerId, signal: AbortSignal): Promise<PeerStream> {
    await this.#relinking;
    const stream = this.wrap(await this.caller.open(peer, protocols.infer, { signal }));
    this.opened++;
    this.open.add(stream);
    void stream.closed.then(() => this.open.delete(stream));
    return stream;
  }

  async *#answer(
    peer: PeerId,
    request: InferenceRequest,
    signal: AbortSignal,
  ): AsyncGenerator<InferenceEvent, void, undefined> {
    const closed = Promise.withResolvers<void>();
    const call: AnswerCall = { peer, request, signal, pulled: 0, isClosed: false, closed: closed.promise };
    this.calls.push(call);
    try {
      for await (const event of this.script(request, signal)) {
        call.pulled++;
        yield event;
      }
    } finally {
      call.isClosed = true;
      closed.resolve();
    }
  }
}

/** A chat as it reaches another node. */
export function chatRequest(fields: Partial<ChatRequest> = {}): ChatRequest {
  return {
    kind: 'chat',
    requestId: 'req-1',
    model: { name: 'demo' },
    priority: 'interactive',
    hops: 1,
    extra: {},
    messages: [{ role: 'user', content: [{ type: 'text', text: 'hello' }] }],
    sampling: {},
    output: plainOutput,
    ...fields,
  };
}

/** The events, or those before a failure and the failure. */
export async function collected(
  events: AsyncIterable<InferenceEvent>,
): Promise<{ events: InferenceEvent[]; thrown?: unknown }> {
  const given: InferenceEvent[] = [];
  try {
    for await (const event of events) {
      given.push(event);
    }
    return { events: given };
  } catch (thrown) {
    return { events: given, thrown };
  }
}

/** Waits for something that is bound to happen once all that is under way has gone on. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}
