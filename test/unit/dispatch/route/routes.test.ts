// Who serves what, told to a client: what a node tells, its bytes, the asking over real byte streams, and the way
// round through the node that told.
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { InferServer } from '../../../../src/dispatch/infer/infer-server.ts';
import { messageOfRoutes, routesOfMessage } from '../../../../src/dispatch/route/route-codec.ts';
import { RouteReplicas } from '../../../../src/dispatch/route/route-replicas.ts';
import { serveRoutes } from '../../../../src/dispatch/route/route-server.ts';
import { type RoutedModel, routedModels } from '../../../../src/dispatch/route/routes.ts';
import type { InferenceEvent } from '../../../../src/inference/events.ts';
import { type ChatRequest, plainOutput } from '../../../../src/inference/request.ts';
import type { MembershipNotice } from '../../../../src/mesh/membership-events.ts';
import { ModelNames } from '../../../../src/mesh/model-names.ts';
import type { PeerStream } from '../../../../src/net/network.ts';
import { protocols } from '../../../../src/trust/gate.ts';
import { KeyPair, type PeerId } from '../../../../src/trust/keys.ts';
import { Emitter } from '../../../../src/util/async.ts';
import { systemClock } from '../../../../src/util/clock.ts';
import { MeshnodeError } from '../../../../src/util/errors.ts';
import { routeLimits } from '../../../../src/util/limits/dispatch.ts';
import { silentLogger } from '../../../../src/util/logging.ts';
import { seededRandom, systemRandom } from '../../../../src/util/random.ts';
import { RouteAnswer } from '../../../../src/wire/route-messages.ts';
import { type InProcessNetwork, InProcessNetworks } from '../../../support/in-process-network.ts';
import { localReplica, plainAnswer, remoteReplica, ScriptedRemote } from '../../../support/replicas.ts';
import { thrownBy } from '../../../support/thrown.ts';

const random = seededRandom(7);
const peerId = (): PeerId => KeyPair.fromSeed(random.bytes(32)).peerId;
const [ada, bee, cleo, dan] = [peerId(), peerId(), peerId(), peerId()];
const digest = 'ab'.repeat(32);

const routed = (fields: Partial<RoutedModel> = {}): RoutedModel => ({
  ...{ name: 'demo', digest, sizeBytes: 9, contextTokens: 2048, abilities: ['chat', 'tools'] },
  replicas: [
    {
      ...{ peerId: bee, peer: 'attic', model: 'demo', state: 'ready', requests: 3, slots: 4 },
      addresses: ['/ip4/192.0.2.7/tcp/9338'],
    },
  ],
  ...fields,
});

describe('what a node tells of who serves what', () => {
  const told = (...replicas: Parameters<typeof routedModels>[0][number]['replicas']) =>
    routedModels(new ModelNames(replicas).list(), ['/ip4/192.0.2.1/tcp/1'], (replica) =>
      replica.where === 'remote' ? replica.model.load() : { requests: 2, slots: 8, rttMs: 0 },
    );

  it('is every model with its replicas, how busy they are and where they can be dialled', () => {
    const far = new ScriptedRemote();
    far.figures = { requests: 5, slots: 4, rttMs: 9 };
    expect(told(remoteReplica(ada, { digest, model: far }))).toEqual([
      {
        ...{ name: 'demo', digest, sizeBytes: undefined, contextTokens: undefined, abilities: [] },
        replicas: [
          {
            ...{ peerId: ada, peer: `name of ${ada}`, model: 'demo', state: 'ready' },
            ...{ requests: 5, slots: 4, addresses: [] },
          },
        ],
      },
    ]);
  });

  it('leaves out who is not heard, and a model that nobody else serves', () => {
    const silent = { digest, isHeard: false };
    const both = told(remoteReplica(ada, silent), remoteReplica(bee, { digest }));
    expect(both.map(({ replicas }) => replicas.map((replica) => replica.peerId))).toEqual([[bee]]);
    expect(told(remoteReplica(ada, silent))).toEqual([]);
  });

  it('is of its own models where it can be dialled itself, and that they are on their way', () => {
    expect(told(localReplica({ digest, stage: 'loading' }))[0]?.replicas).toMatchObject([
      { state: 'loading', requests: 0, addresses: ['/ip4/192.0.2.1/tcp/1'] },
    ]);
  });
});

describe('the bytes of routes', () => {
  const roundTrip = (models: readonly RoutedModel[]) =>
    routesOfMessage(RouteAnswer.decode(RouteAnswer.encode(messageOfRoutes(models)).finish()));

  it('say the same when they are read', () => {
    const words = fc.stringMatching(/^[a-z-]{1,12}$/);
    const counts = fc.integer({ min: 1, max: 1e6 });
    const unknown = <T>(known: fc.Arbitrary<T>) => fc.option(known, { nil: undefined });
    const replica = fc.record({
      peerId: fc.constantFrom(ada, bee, cleo),
      peer: words,
      model: words,
      state: fc.constantFrom('ready' as const, 'loading' as const),
      requests: fc.nat(1e6),
      slots: unknown(counts),
      addresses: fc.subarray(['/ip4/192.0.2.7/tcp/9338', '/ip6/2001:db8::1/udp/1/quic-v1']),
    });
    const model = fc.record({
      name: words,
      digest: unknown(fc.constant(digest)),
      sizeBytes: unknown(counts),
      contextTokens: unknown(counts),
      abilities: fc.uniqueArray(words, { maxLength: 4 }),
      replicas: fc.uniqueArray(replica, { selector: (one) => one.peerId }),
    });
    const lists = fc.uniqueArray(model, { selector: (one) => one.name, maxLength: 5 });
    fc.assert(
      fc.property(lists, (models) => {
        expect(roundTrip(models)).toEqual(models);
      }),
    );
  });

  it.each<[string, object]>([
    ['models', { models: Array.from({ length: routeLimits.models + 1 }, () => ({ name: 'm' })) }],
    ['models[1]', { models: [{ name: 'm' }, { name: 'm' }] }],
    ['models[0].name', { models: [{}] }],
    ['models[0].name', { models: [{ name: 'x'.repeat(routeLimits.nameBytes + 1) }] }],
    ['models[0].digest', { models: [{ name: 'm', digest: new Uint8Array(31) }] }],
    ['models[0].replicas[0].peerId', { models: [{ name: 'm', replicas: [{ model: 'm' }] }] }],
    [
      'models[0].replicas[0].model',
      { models: [{ name: 'm', replicas: [{ peerKey: new Uint8Array(32).fill(3) }] }] },
    ],
  ])('are refused by the name of the field: %s', (field, message) => {
    expect(thrownBy(() => routesOfMessage(message))).toMatchObject({
      code: 'frame_invalid',
      details: { data: { field } },
    });
  });
});

interface Mesh {
  readonly client: InProcessNetwork;
  readonly replicas: RouteReplicas;
  readonly notices: Emitter<MembershipNotice>;
  /** Whom the client can ask, the nearest first. */
  readonly routers: PeerId[];
  /** How often each node was asked who serves what. */
  readonly questions: Map<PeerId, number>;
  /** What each node was asked to answer. */
  readonly asked: { readonly at: PeerId; readonly model: string; readonly hops: number }[];
  readonly silent: Set<PeerId>;
}

const stops: (() => unknown)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) {
    await stop();
  }
});

/** A client linked to `ada` and `bee`, who both tell `models`; `cleo` is there, but has no link to it. */
async function clientOf(
  models: readonly RoutedModel[],
  answersOf: (peer: PeerId) => AsyncIterable<InferenceEvent> = () => plainAnswer(),
  adaServes?: (stream: PeerStream) => Promise<void>,
): Promise<Mesh> {
  const networks = new InProcessNetworks();
  const client = networks.create({ peerId: dan });
  const notices = new Emitter<MembershipNotice>();
  const routers = [ada, bee];
  const [questions, asked, silent] = [new Map<PeerId, number>(), [] as Mesh['asked'], new Set<PeerId>()];
  for (const at of [ada, bee, cleo]) {
    const network = networks.create({ peerId: at });
    if (at === ada && adaServes !== undefined) {
      network.handle(protocols.route, adaServes, { streamsPerPeer: 4 });
      await client.dial(at, network.addresses());
      continue;
    }
    serveRoutes({
      network,
      routes: () => {
        questions.set(at, (questions.get(at) ?? 0) + 1);
        return models;
      },
      clock: systemClock,
    });
    const server = new InferServer({
      network,
      answer: (_caller, { model, hops }) => {
        asked.push({ at, model: model.name, hops });
        return answersOf(at);
      },
      clock: systemClock,
      log: silentLogger,
    });
    stops.push(() => server.stop());
    if (at !== cleo) {
      await client.dial(at, network.addresses());
    }
  }
  const replicas = new RouteReplicas({
    open: (peer, signal) => client.open(peer, protocols.infer, { signal }),
    openRoute: (peer, signal) => client.open(peer, protocols.route, { signal }),
    routers: () => routers,
    wayTo: (peer) => ({ isSilent: silent.has(peer), rttMs: peer === ada ? 1 : undefined }),
    onNotice: (listener) => notices.listen(listener),
    awaited: () => undefined,
    routed: () => {},
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
  });
  stops.push(() => replicas.stop());
  await replicas.refresh();
  return { client, replicas, notices, routers, questions, asked, silent };
}

const chat: ChatRequest = {
  ...{ kind: 'chat', requestId: 'r1', model: { name: 'demo' }, priority: 'interactive', hops: 1, extra: {} },
  messages: [{ role: 'user', content: [{ type: 'text', text: 'Say something.' }] }],
  ...{ sampling: {}, output: plainOutput },
};

async function answerFrom({ replicas }: Mesh, at: PeerId): Promise<string> {
  const replica = replicas.replicas().find((one) => one.peerId === at);
  let text = '';
  const events = replica?.model.infer(chat, new AbortController().signal, { patient: false }) ?? [];
  for await (const event of events) {
    text += event.type === 'delta' ? (event.text ?? '') : '';
    if (event.type === 'error') {
      throw new MeshnodeError(event.code, event.message);
    }
  }
  return text;
}

describe('a client', () => {
  const atCleo = routed({
    name: `demo@${digest.slice(0, 8)}`,
    replicas: [
      {
        ...{ peerId: cleo, peer: '', model: 'demo', state: 'ready', requests: 0, slots: 1 },
        addresses: ['/ip4/192.0.2.7/tcp/9338'],
      },
    ],
  });

  it('knows what the nearest member tells, and asks again only when that is old', async () => {
    const mesh = await clientOf([routed()]);
    expect(mesh.replicas.replicas()).toMatchObject([
      { peerId: bee, peer: 'attic', name: 'demo', digest, isHeard: true, status: { stage: 'ready' } },
    ]);
    expect(mesh.replicas.replicas()[0]?.model.load()).toMatchObject({
      requests: 3,
      slots: 4,
      rttMs: undefined,
    });
    await mesh.replicas.refresh();
    expect([...mesh.questions]).toEqual([[ada, 1]]);
  });

  it('counts what it has sent since on top of what it was told', async () => {
    const mesh = await clientOf([routed()], async function* () {
      yield { type: 'accepted', replica: 'slow' };
      await new Promise(() => {});
    });
    const [replica] = mesh.replicas.replicas();
    const caller = new AbortController();
    const events = replica?.model.infer(chat, caller.signal, { patient: false })[Symbol.asyncIterator]();
    await events?.next();
    expect(replica?.model.load().requests).toBe(4);
    caller.abort();
    await events?.next().catch(() => {});
    expect(replica?.model.load().requests).toBe(3);
  });

  it('asks another member if the nearest does not answer', async () => {
    const mesh = await clientOf([]);
    await mesh.client.disconnect(ada);
    expect(mesh.questions.get(bee)).toBeUndefined();
    mesh.notices.emit({ type: 'up', peer: bee });
    await expect.poll(() => mesh.questions.get(bee)).toBe(1);
  });

  it.each<[string, (stream: PeerStream) => Promise<void>]>([
    ['never answers', () => new Promise(() => {})],
    ['ends without an answer', () => Promise.resolve()],
  ])('keeps no request waiting for a member that %s, and asks another one', async (_what, serve) => {
    const mesh = await clientOf([routed()], undefined, serve);
    const startMs = systemClock.monotonicMs();
    await mesh.replicas.refresh();
    expect(systemClock.monotonicMs() - startMs).toBeLessThan(2 * routeLimits.waitMs);
    await expect.poll(() => mesh.replicas.replicas().length, { timeout: 8_000 }).toBe(1);
    expect([...mesh.questions]).toEqual([[bee, 1]]);
  });

  it('asks the node that has the model', async () => {
    const mesh = await clientOf([routed()]);
    expect(await answerFrom(mesh, bee)).toBe('from afar');
    expect(mesh.asked).toEqual([{ at: bee, model: 'demo', hops: 1 }]);
  });

  it('asks through the member that told it if it cannot reach the node, by the name that this one uses', async () => {
    const mesh = await clientOf([atCleo]);
    expect(await answerFrom(mesh, cleo)).toBe('from afar');
    expect(await answerFrom(mesh, cleo)).toBe('from afar');
    const passedOn = { at: ada, model: atCleo.name, hops: 1 };
    expect(mesh.asked).toEqual([passedOn, passedOn]);
  });

  it('asks another member, and through that one, as soon as the one that told it leaves', async () => {
    const mesh = await clientOf([atCleo]);
    mesh.routers.shift();
    mesh.notices.emit({ type: 'left', peer: bee });
    await mesh.replicas.refresh();
    expect([...mesh.questions]).toEqual([[ada, 1]]);
    mesh.notices.emit({ type: 'left', peer: ada });
    await expect
      .poll(() => [...mesh.questions])
      .toEqual([
        [ada, 1],
        [bee, 1],
      ]);
    expect(await answerFrom(mesh, cleo)).not.toBe('');
    expect(mesh.asked.map(({ at }) => at)).toEqual([bee]);
  });

  it('shows who is silent as not heard, and hears at once when the node that it asks is', async () => {
    const mesh = await clientOf([routed()], async function* () {
      yield { type: 'accepted', replica: 'slow' };
      await new Promise(() => {});
    });
    const answer = answerFrom(mesh, bee);
    await expect.poll(() => mesh.asked).toHaveLength(1);
    mesh.silent.add(bee);
    mesh.notices.emit({ type: 'silent', peer: bee });
    mesh.notices.emit({ type: 'changed', peers: [bee] });
    await expect(answer).rejects.toMatchObject({ code: 'peer_unreachable' });
    expect(mesh.replicas.replicas()[0]?.isHeard).toBe(false);
  });
});
