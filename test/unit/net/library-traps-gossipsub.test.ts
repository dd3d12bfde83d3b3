// How much of one RPC gossipsub takes: as it comes nearly everything, with our settings what is bounded below. The
// same RPCs go to both, written by hand: no gossipsub of ours would send them.
import { type GossipSub, gossipsub, StrictNoSign } from '@libp2p/gossipsub';
import { RPC } from '@libp2p/gossipsub/message';
import type { Libp2p, Stream } from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import { afterEach, describe, expect, it } from 'vitest';
import { GossipsubBroadcast } from '../../../src/mesh/gossipsub-broadcast.ts';
import { gossipsubProtocol } from '../../../src/mesh/gossipsub-peers.ts';
import type { Libp2pHost } from '../../../src/net/host.ts';
import { sleep, systemClock } from '../../../src/util/clock.ts';
import { gossipsubLimits } from '../../../src/util/limits/mesh.ts';
import { silentLogger } from '../../../src/util/logging.ts';
import { delimit } from '../../../src/wire/framing.ts';
import { stockNode } from '../../support/stock-libp2p.ts';
import { testHost } from '../../support/test-host.ts';

/** The mesh's own. */
const topic = 'meshnode/1';

/** One side that hears gossipsub, and a peer of it that sends what it likes. */
interface Hearing {
  readonly heard: string[];
  /** A new stream to it. */
  open(): Promise<Stream>;
}

describe('an RPC of gossipsub', () => {
  const closing: Array<() => unknown> = [];
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) {
      await close();
    }
  });

  const sender = async (host: Libp2pHost): Promise<Hearing['open']> => {
    const node: Libp2p = await stockNode();
    closing.push(() => node.stop());
    const connection = await node.dial(multiaddr(host.addresses()[0]));
    return () => connection.newStream(gossipsubProtocol);
  };

  /** Our broadcast. */
  const ours = async (): Promise<Hearing> => {
    const heard: string[] = [];
    const broadcast = new GossipsubBroadcast({ gate: () => true, clock: systemClock, log: silentLogger });
    const host = await testHost({ services: { gossipsub: broadcast.service } });
    closing.push(() => host.close());
    await broadcast.start((_, envelope) => {
      heard.push(nameOf(envelope));
      return 'accept';
    });
    closing.push(() => broadcast.stop());
    return { heard, open: await sender(host) };
  };

  /** Gossipsub as it comes, but that it takes what nobody signed. */
  const stock = async (): Promise<Hearing> => {
    const heard: string[] = [];
    const made = Promise.withResolvers<GossipSub>();
    const host = await testHost({
      services: {
        gossipsub: (components) => {
          const router = gossipsub({ globalSignaturePolicy: StrictNoSign })(components);
          made.resolve(router);
          return router;
        },
      },
    });
    closing.push(() => host.close());
    const router = await made.promise;
    router.addEventListener('message', ({ detail }) => heard.push(nameOf(detail.data)));
    router.subscribe(topic);
    return { heard, open: await sender(host) };
  };

  const { rpcEnvelopes, rpcMessageIds, rpcControls, rpcBytes } = gossipsubLimits;
  const ids = (count: number): Uint8Array[] =>
    Array.from({ length: count }, (_, id) => Uint8Array.of(id, id >> 8));

  it.each<[what: string, bound: number, of: (count: number) => Partial<RPC>]>([
    [
      'envelopes',
      rpcEnvelopes,
      (count) => ({ messages: Array.from({ length: count }, (_, index) => envelope(`${count} ${index}`)) }),
    ],
    [
      'message ids that it asks for',
      rpcEnvelopes,
      (count) => ({ control: control({ iwant: [{ messageIDs: ids(count) }] }) }),
    ],
    [
      'message ids that it tells of',
      rpcMessageIds,
      (count) => ({ control: control({ ihave: [{ topicID: topic, messageIDs: ids(count) }] }) }),
    ],
    [
      'subscriptions',
      rpcControls,
      (count) => ({ subscriptions: Array(count).fill({ subscribe: true, topic }) }),
    ],
    [
      'requests to be passed everything',
      rpcControls,
      (count) => ({ control: control({ graft: Array(count).fill({ topicID: topic }) }) }),
    ],
    [
      'peers to turn to instead',
      0,
      (count) => ({
        control: control({ prune: [{ topicID: topic, peers: Array(count).fill({}), backoff: 60 }] }),
      }),
    ],
  ])('with more %s than %i is taken by stock gossipsub, and not by ours', async (_, bound, of) => {
    const rpcs = [bound, bound + 1].map((count) => {
      const { messages = [], ...others } = of(count);
      // An envelope of its own says whether the whole is taken.
      return messages.length > 0
        ? rpc({ messages })
        : rpc({ ...others, messages: [envelope(`with ${count}`)] });
    });
    const [here, there] = [await ours(), await stock()];
    for (const { open } of [here, there]) {
      const stream = await open();
      for (const bytes of [...rpcs, rpc({ messages: [envelope('the next')] })]) {
        stream.send(bytes);
      }
    }
    const names = (count: number): string[] =>
      (of(count).messages ?? [envelope(`with ${count}`)]).map(({ data }) => nameOf(data));
    const all = [...names(bound), ...names(bound + 1), 'the next'];
    // What the one has heard the other has had time to hear as well.
    await until(() => there.heard.length >= all.length && here.heard.includes('the next'));
    expect(there.heard.toSorted()).toEqual(all.sort());
    expect(here.heard.toSorted()).toEqual([...names(bound), 'the next'].sort());
  });

  it('of more than 256 KiB is taken by stock gossipsub, and costs its sender the stream with ours', async () => {
    const pieces = ['a', 'b', 'c', 'd', 'e'];
    const size = Math.floor(rpcBytes / 4.5);
    const within = rpc({ messages: pieces.slice(0, 4).map((name) => envelope(`within ${name}`, size)) });
    const beyond = rpc({ messages: pieces.map((name) => envelope(`beyond ${name}`, size)) });
    expect(within.length).toBeLessThan(rpcBytes);
    expect(beyond.length).toBeGreaterThan(rpcBytes);
    const [here, there] = [await ours(), await stock()];
    for (const { open } of [here, there]) {
      const stream = await open();
      stream.send(within);
      stream.send(beyond);
      stream.send(rpc({ messages: [envelope('on the same stream')] }));
    }
    // What the one has heard the other has had time to hear as well.
    await until(() => there.heard.length >= 4 + 5 + 1);
    const anew = await here.open();
    anew.send(rpc({ messages: [envelope('on a new stream')] }));
    await until(() => here.heard.includes('on a new stream'));
    const named = (how: string, count: number): string[] =>
      pieces.slice(0, count).map((name) => `${how} ${name}`);
    expect(there.heard.toSorted()).toEqual(
      [...named('within', 4), ...named('beyond', 5), 'on the same stream'].sort(),
    );
    expect(here.heard.toSorted()).toEqual([...named('within', 4), 'on a new stream'].sort());
  });
});

function rpc(parts: Partial<RPC>): Uint8Array {
  return delimit(RPC.encode({ subscriptions: [], messages: [], ...parts }));
}

function control(parts: Partial<RPC.ControlMessage>): RPC.ControlMessage {
  return { ihave: [], iwant: [], graft: [], prune: [], idontwant: [], ...parts };
}

/** An envelope that begins with its name, and no two alike: gossipsub hears each once. */
function envelope(name: string, sizeBytes = name.length): RPC.Message {
  const data = Buffer.alloc(sizeBytes);
  data.write(name);
  return { topic, data };
}

function nameOf(data: Uint8Array = new Uint8Array()): string {
  const text = Buffer.from(data.subarray(0, 64)).toString();
  const end = text.indexOf('\0');
  return end < 0 ? text : text.slice(0, end);
}

async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; tries < 800 && !condition(); tries++) {
    await sleep(systemClock, 10);
  }
  expect(condition()).toBe(true);
}
