// Which stream a message takes. The network is one whose streams open when a test says so.
import { afterEach, describe, expect, it } from 'vitest';
import type { MeshMessage } from '../../../src/mesh/message.ts';
import { readMessage } from '../../../src/mesh/message-codec.ts';
import { PeerPipes } from '../../../src/mesh/peer-pipes.ts';
import type { Network, OpenOptions, PeerStream } from '../../../src/net/network.ts';
import { protocols } from '../../../src/trust/gate.ts';
import { systemClock } from '../../../src/util/clock.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { silentLogger } from '../../../src/util/logging.ts';

const peer = 'peer';
const { join } = protocols;
const refused = (message: string): MeshMessage => ({
  type: 'refused',
  code: 'internal',
  message,
  proofs: [],
});

/** A stream that keeps what is written. */
class KeepingStream implements PeerStream {
  readonly peer = peer;
  readonly protocol = join;
  readonly link: string;
  readonly said: string[] = [];
  readonly #closed = Promise.withResolvers<void>();

  constructor(link: string) {
    this.link = link;
  }

  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  async read(): Promise<undefined> {}

  async write(bytes: Uint8Array): Promise<void> {
    const message = readMessage(bytes.subarray(1));
    this.said.push(message.type === 'refused' ? message.message : message.type);
  }

  async end(): Promise<void> {}

  abort(): void {
    this.#closed.resolve();
  }
}

interface Opening {
  readonly options: OpenOptions;
  readonly opened: PromiseWithResolvers<PeerStream>;
}

function setUp() {
  const openings: Opening[] = [];
  const lost: string[] = [];
  const network = {
    handle: () => {},
    open: (_peer: string, _protocol: string, options: OpenOptions) => {
      const opened = Promise.withResolvers<PeerStream>();
      openings.push({ options, opened });
      return opened.promise;
    },
  };
  const pipes = new PeerPipes({
    network: network as unknown as Network,
    clock: systemClock,
    log: silentLogger,
    deliver: () => {},
    onLost: (whom) => lost.push(whom),
    isAdmitted: () => true,
    whenUp: async () => {},
  });
  stops.push(() => pipes.stop());
  /** Opens the stream that was asked for as number `index`, over a link. */
  const open = async (index: number, link: string): Promise<KeepingStream> => {
    const stream = new KeepingStream(link);
    openings[index]?.opened.resolve(stream);
    await pipes.drained(peer);
    return stream;
  };
  return { pipes, openings, lost, open };
}

const stops: (() => void)[] = [];
afterEach(() => {
  for (const stop of stops.splice(0)) {
    stop();
  }
});

describe('the messages to a peer', () => {
  it('go over one stream in order, also if an answer is asked for before that is open', async () => {
    const { pipes, openings, open } = setUp();
    pipes.send(peer, join, refused('first'));
    pipes.send(peer, join, refused('answer'), 'one');
    pipes.send(peer, join, refused('last'));
    await Promise.resolve();
    const stream = await open(0, 'one');
    pipes.send(peer, join, refused('another answer'), 'one');
    await pipes.drained(peer);
    expect(openings).toHaveLength(1);
    expect(stream.said).toEqual(['first', 'answer', 'last', 'another answer']);
  });

  it('answer by the link that was asked on, and go by the older stream if they are no answer', async () => {
    const { pipes, openings, open } = setUp();
    pipes.send(peer, join, refused('first'));
    await Promise.resolve();
    const usual = await open(0, 'one');
    pipes.send(peer, join, refused('answer'), 'two');
    pipes.send(peer, join, refused('news'));
    await Promise.resolve();
    expect(openings[1]?.options).toMatchObject({ link: 'two' });
    const other = await open(1, 'two');
    expect(usual.said).toEqual(['first', 'news']);
    expect(other.said).toEqual(['answer']);
    usual.abort();
    await usual.closed;
    pipes.send(peer, join, refused('last'));
    await pipes.drained(peer);
    expect(other.said).toEqual(['answer', 'last']);
    expect(openings).toHaveLength(2);
  });

  it('are dropped if the link that they answer is gone, and others are not', async () => {
    const { pipes, openings, lost, open } = setUp();
    pipes.send(peer, join, refused('first'));
    await Promise.resolve();
    const usual = await open(0, 'one');
    pipes.send(peer, join, refused('answer'), 'two');
    await Promise.resolve();
    openings[1]?.opened.reject(new MeshnodeError('peer_unreachable', 'That link is gone.'));
    await pipes.drained(peer);
    expect(lost).toEqual([peer]);
    pipes.send(peer, join, refused('last'));
    await pipes.drained(peer);
    expect(usual.said).toEqual(['first', 'last']);
    expect(openings).toHaveLength(2);
  });
});
