// The replicas that records and beats tell of, and what becomes of a request when its node is lost.
import { describe, expect, it } from 'vitest';
import { MeshReplicas } from '../../../../src/dispatch/remote/mesh-replicas.ts';
import type { InferenceEvent } from '../../../../src/inference/events.ts';
import { encodeFrame } from '../../../../src/inference/frames.ts';
import { type ChatRequest, plainOutput } from '../../../../src/inference/request.ts';
import type { Vitals } from '../../../../src/mesh/liveness.ts';
import type { MemberView } from '../../../../src/mesh/membership.ts';
import type { MembershipNotice } from '../../../../src/mesh/membership-events.ts';
import type { RecordModel } from '../../../../src/mesh/record.ts';
import type { PeerStream } from '../../../../src/net/network.ts';
import { protocols } from '../../../../src/trust/gate.ts';
import { Emitter } from '../../../../src/util/async.ts';
import { MeshnodeError } from '../../../../src/util/errors.ts';
import { remoteLimits } from '../../../../src/util/limits/dispatch.ts';
import { beatLimits } from '../../../../src/util/limits/mesh.ts';
import { silentLogger } from '../../../../src/util/logging.ts';
import { systemRandom } from '../../../../src/util/random.ts';
import { Wake } from '../../../../src/util/wake.ts';
import { ManualClock } from '../../../support/manual-clock.ts';
import { memberView, recordModel } from '../../../support/member-view.ts';
import { textAnswer } from '../../../support/scripted-dispatch.ts';

const digest = 'd'.repeat(64);

function model(fields: Partial<RecordModel> = {}): RecordModel {
  const abilities = ['chat', 'completion', 'seed'];
  return recordModel('demo', { digest, sizeBytes: 9, contextTokens: 2048, abilities, ...fields });
}

function member(
  peerId: string,
  models: readonly RecordModel[],
  fields: Partial<MemberView> = {},
): MemberView {
  return memberView(peerId, { models }, fields);
}

/** A mesh that a test writes itself. */
function setUp(...members: MemberView[]) {
  const clock = new ManualClock();
  const notices = new Emitter<MembershipNotice>();
  const vitals = new Map<string, Vitals>();
  const state = { members, routed: [] as string[], opened: [] as string[], says: new Said(), lateMs: 0 };
  const replicas = new MeshReplicas({
    self: 'me',
    mesh: { members: () => state.members, vitals: (peer) => vitals.get(peer) },
    open: async (peer) => {
      state.opened.push(peer);
      return stuckStream(peer, state.says);
    },
    onNotice: (listener) => notices.listen(listener),
    awaited: (peer) => vitals.get(peer)?.awaited,
    routed: (peer) => state.routed.push(peer),
    clock,
    random: systemRandom,
    log: silentLogger,
  });
  const show = (...shown: MemberView[]): void => {
    state.members = shown;
    notices.emit({ type: 'changed', peers: [] });
  };
  const beat = (peer: string, ...loads: NonNullable<Vitals['load']>['loads']): void => {
    const load = { loads, atMs: clock.monotonicMs() };
    vitals.set(peer, {
      isSilent: false,
      rtt: { p50Ms: 7, p95Ms: 9 },
      load,
      heardMs: load.atMs,
      awaited: { sinceMs: load.atMs, lateMs: state.lateMs },
    });
  };
  return { clock, notices, replicas, state, show, beat };
}

/** What a node says, as it does. */
class Said {
  readonly #frames: Uint8Array[] = [];
  readonly #wake = new Wake();

  add(...events: InferenceEvent[]): void {
    this.#frames.push(...events.map((event) => encodeFrame({ type: 'event', event })));
    this.#wake.now();
  }

  async next(): Promise<Uint8Array> {
    for (let frame = this.#frames.shift(); ; frame = this.#frames.shift()) {
      if (frame !== undefined) {
        return frame;
      }
      await this.#wake.next();
    }
  }
}

/** A stream that takes everything, says what there is to say, and goes on until it is given up. */
function stuckStream(peer: string, says: Said): PeerStream {
  const gone = Promise.withResolvers<void>();
  return {
    peer,
    protocol: protocols.infer,
    link: 'l',
    read: async (signal) => {
      const aborted = new Promise<never>((_, reject) => {
        signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
      });
      const broken = gone.promise.then(() => {
        throw new MeshnodeError('stream_broken', 'It was given up.');
      });
      return Promise.race([says.next(), broken, aborted]);
    },
    write: async () => {},
    end: async () => {},
    abort: () => gone.resolve(),
    closed: gone.promise,
  };
}

const chat: ChatRequest = {
  ...{ kind: 'chat', requestId: 'r1', model: { name: 'demo' }, priority: 'interactive', hops: 1, extra: {} },
  messages: [{ role: 'user', content: [{ type: 'text', text: 'Say something.' }] }],
  ...{ sampling: {}, output: plainOutput },
};

const busy = { model: 'demo', inFlight: 2, queued: 1, slots: 4, tokensPerSecond: 9 };

describe('the replicas of other nodes', () => {
  it('are the models of all who live, with what they can do, and none of this node', () => {
    const { replicas } = setUp(
      member('me', [model()]),
      member('ada', [model(), model({ name: 'far', digest: undefined, state: 'loading' })]),
      member('bob', [model()], { status: 'dead' }),
      member('cleo', [model()], { status: 'left' }),
    );
    expect(replicas.replicas()).toMatchObject([
      { peerId: 'ada', peer: 'name of ada', name: 'demo', digest, isHeard: true, status: { stage: 'ready' } },
      { peerId: 'ada', name: 'far', digest: undefined, status: { stage: 'loading' } },
    ]);
    const { capabilities } = replicas.replicas()[0]?.model ?? {};
    expect(capabilities).toEqual({ kinds: new Set(['chat', 'completion']), features: new Set(['seed']) });
  });

  it('can be asked for their kind if their node says no more of them', () => {
    const { replicas } = setUp(member('ada', [model({ abilities: [], kind: 'embedding' })]));
    expect(replicas.replicas()[0]?.model.capabilities.kinds).toEqual(new Set(['embedding']));
  });

  it('are not those of which this version cannot say whether they are ready', () => {
    const { replicas } = setUp(member('ada', [model({ state: undefined })]));
    expect(replicas.replicas()).toEqual([]);
  });

  it('change as the mesh does, which is told', () => {
    const { replicas, show } = setUp(member('ada', [model()]));
    let changes = 0;
    replicas.onChange(() => changes++);
    const before = replicas.replicas();
    expect(replicas.replicas()).toBe(before);
    show(member('ada', [model()], { isUp: false, isSilent: true }));
    expect(replicas.replicas()[0]?.isHeard).toBe(false);
    replicas.stop();
    show();
    expect(changes).toBe(1);
  });
});

describe('the load of a replica', () => {
  it('is what its last beat says and what was sent since, and where it is', async () => {
    const { replicas, beat, clock } = setUp(member('ada', [model()]));
    const loadNow = () => replicas.replicas()[0]?.model.load();
    expect(loadNow()).toEqual({ requests: 0, slots: 4, rttMs: undefined, isDoubted: false });
    beat('ada', busy);
    expect(loadNow()).toEqual({ requests: 3, slots: 4, rttMs: 7, isDoubted: false });
    await clock.advance(10);
    const caller = new AbortController();
    const answer = read(replicas, caller.signal);
    await clock.settle();
    expect(loadNow()?.requests).toBe(4);
    await clock.advance(10);
    beat('ada');
    expect(loadNow()?.requests).toBe(1);
    caller.abort(new MeshnodeError('cancelled', 'Enough.'));
    await answer;
    expect(loadNow()?.requests).toBe(0);
  });

  it('counts what was sent within a round trip before the beat on top of what others sent', async () => {
    const { replicas, beat, clock } = setUp(member('ada', [model()]));
    const caller = new AbortController();
    const answer = read(replicas, caller.signal);
    await clock.advance(6);
    beat('ada', busy);
    expect(replicas.replicas()[0]?.model.load().requests).toBe(4);
    await clock.advance(1);
    beat('ada', busy);
    expect(replicas.replicas()[0]?.model.load().requests).toBe(3);
    caller.abort(new MeshnodeError('cancelled', 'Enough.'));
    await answer;
  });

  it('is what is known here alone once the last beat is old', async () => {
    const { replicas, beat, clock } = setUp(member('ada', [model()]));
    beat('ada', busy);
    await clock.advance(beatLimits.loadMs + 1);
    expect(replicas.replicas()[0]?.model.load().requests).toBe(0);
  });

  it('is in doubt once a beat is overdue', async () => {
    const { replicas, beat, clock } = setUp(member('ada', [model()]));
    beat('ada', busy);
    await clock.advance(remoteLimits.doubtMs - 1);
    expect(replicas.replicas()[0]?.model.load().isDoubted).toBe(false);
    await clock.advance(1);
    expect(replicas.replicas()[0]?.model.load().isDoubted).toBe(true);
    beat('ada');
    expect(replicas.replicas()[0]?.model.load().isDoubted).toBe(false);
  });

  it('is in doubt later if its beats were late before', async () => {
    const { replicas, beat, clock, state } = setUp(member('ada', [model()]));
    state.lateMs = 500;
    beat('ada', busy);
    await clock.advance(1_999);
    expect(replicas.replicas()[0]?.model.load().isDoubted).toBe(false);
    await clock.advance(1);
    expect(replicas.replicas()[0]?.model.load().isDoubted).toBe(true);
  });

  it('counts what was sent before its record changed', async () => {
    const { replicas, show, clock } = setUp(member('ada', [model()]));
    const caller = new AbortController();
    const answer = read(replicas, caller.signal);
    await clock.settle();
    show(member('ada', [model({ slots: 8 })]));
    expect(replicas.replicas()[0]?.model.load()).toMatchObject({ requests: 1, slots: 8 });
    caller.abort(new MeshnodeError('cancelled', 'Enough.'));
    await answer;
  });
});

/** How a request to the first replica ends. */
async function read(
  replicas: MeshReplicas,
  signal: AbortSignal,
  patient = false,
): Promise<{ events: InferenceEvent[]; thrown: unknown }> {
  const events: InferenceEvent[] = [];
  try {
    for await (const event of replicas.replicas()[0]?.model.infer(chat, signal, { patient }) ?? []) {
      events.push(event);
    }
    return { events, thrown: undefined };
  } catch (thrown) {
    return { events, thrown };
  }
}

describe('a request under way', () => {
  const never = new AbortController().signal;

  it('tells the mesh whom it asks', async () => {
    const { replicas, state, notices, clock } = setUp(member('ada', [model()]));
    const answer = read(replicas, never);
    await clock.settle();
    expect(state).toMatchObject({ routed: ['ada'], opened: ['ada'] });
    notices.emit({ type: 'gone', peer: 'ada' });
    await answer;
  });

  it('is given up as soon as its node is silent, if another one can be asked', async () => {
    const { replicas, notices, clock } = setUp(member('ada', [model()]));
    const answer = read(replicas, never);
    await clock.settle();
    notices.emit({ type: 'silent', peer: 'bob' });
    notices.emit({ type: 'silent', peer: 'ada' });
    expect((await answer).thrown).toMatchObject({ code: 'peer_unreachable' });
  });

  describe('whose node is not heard when it should be', () => {
    /** Asked half a second after the last beat. */
    async function asked(patient = false, lateMs = 0) {
      const setup = setUp(member('ada', [model()]));
      setup.state.lateMs = lateMs;
      setup.beat('ada');
      await setup.clock.advance(500);
      const answer = read(setup.replicas, never, patient);
      let isOver = false;
      void answer.finally(() => {
        isOver = true;
      });
      await setup.clock.settle();
      return { ...setup, answer, isOver: () => isOver };
    }

    it('goes to another one, that has the time from when it was asked', async () => {
      const { clock, answer, isOver } = await asked();
      await clock.advance(remoteLimits.doubtMs - 1);
      expect(isOver()).toBe(false);
      await clock.advance(1);
      expect((await answer).thrown).toMatchObject({ code: 'stream_broken' });
      await clock.advance(60_000);
      expect(clock.pendingTimers).toBe(0);
    });

    it('stays with one whose beats were late before for as long as they may be again', async () => {
      const { clock, answer, isOver } = await asked(false, 700);
      await clock.advance(2_399);
      expect(isOver()).toBe(false);
      await clock.advance(1);
      expect((await answer).thrown).toMatchObject({ code: 'stream_broken' });
    });

    it('stays for as long as beats come, and when there is no other', async () => {
      const { clock, beat, isOver, notices } = await asked();
      for (let second = 0; second < 5; second++) {
        await clock.advance(1_000);
        beat('ada');
      }
      expect(isOver()).toBe(false);
      notices.emit({ type: 'gone', peer: 'ada' });
      const patient = await asked(true);
      await patient.clock.advance(3_000);
      expect(patient.isOver()).toBe(false);
      patient.notices.emit({ type: 'gone', peer: 'ada' });
    });

    it('stays for as long as anything comes of it, and once it has given a piece of the answer', async () => {
      const { clock, isOver, notices, answer, state } = await asked();
      state.says.add({ type: 'accepted', replica: 'r' });
      for (let second = 0; second < 4; second++) {
        await clock.advance(1_000);
        state.says.add({ type: 'progress', stage: 'prefill' });
      }
      await clock.settle();
      expect(isOver()).toBe(false);
      state.says.add({ type: 'delta', index: 0, text: 'word' });
      await clock.advance(60_000);
      expect(isOver()).toBe(false);
      notices.emit({ type: 'gone', peer: 'ada' });
      expect((await answer).thrown).toMatchObject({ code: 'stream_broken' });
    });

    it('stays if it was this process that did not run', async () => {
      const { clock, beat, isOver, notices } = await asked();
      clock.stall(20_000);
      await clock.advance(0);
      expect(isOver()).toBe(false);
      beat('ada');
      await clock.advance(remoteLimits.doubtMs - 1);
      expect(isOver()).toBe(false);
      notices.emit({ type: 'gone', peer: 'ada' });
    });
  });

  it('waits for the only node that can answer until nobody hears of it', async () => {
    const { replicas, notices, clock } = setUp(member('ada', [model()]));
    let isOver = false;
    const answer = read(replicas, never, true).finally(() => {
      isOver = true;
    });
    await clock.settle();
    notices.emit({ type: 'silent', peer: 'ada' });
    await clock.settle();
    expect(isOver).toBe(false);
    notices.emit({ type: 'gone', peer: 'ada' });
    expect((await answer).thrown).toMatchObject({ code: 'peer_unreachable' });
  });

  it('that has given words goes on though its node leaves, or is silent, and ends once it is gone', async () => {
    const { replicas, notices, clock, state } = setUp(member('ada', [model()]));
    const events: InferenceEvent[] = [
      { type: 'accepted', replica: 'r' },
      { type: 'delta', index: 0, text: 'word' },
    ];
    state.says.add(...events);
    let isOver = false;
    const answer = read(replicas, never).finally(() => {
      isOver = true;
    });
    await clock.settle();
    notices.emit({ type: 'left', peer: 'ada' });
    notices.emit({ type: 'silent', peer: 'ada' });
    await clock.settle();
    expect(isOver).toBe(false);
    notices.emit({ type: 'gone', peer: 'ada' });
    expect(await answer).toMatchObject({ events, thrown: { code: 'stream_broken' } });
  });

  it('ends with its node`s own word that it leaves, unless nobody else can be asked', async () => {
    const one = setUp(member('ada', [model()]));
    const answer = read(one.replicas, never);
    await one.clock.settle();
    one.notices.emit({ type: 'left', peer: 'ada' });
    expect((await answer).thrown).toMatchObject({ code: 'peer_unreachable' });

    const other = setUp(member('ada', [model()]));
    const only = read(other.replicas, never, true);
    await other.clock.settle();
    other.notices.emit({ type: 'left', peer: 'ada' });
    const events = textAnswer('word');
    other.state.says.add(...events);
    expect(await only).toEqual({ events, thrown: undefined });
  });
});
