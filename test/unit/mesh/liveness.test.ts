import { describe, expect, it } from 'vitest';
import { Liveness } from '../../../src/mesh/liveness.ts';
import type { Membership } from '../../../src/mesh/membership.ts';
import type { MembershipEffect, MembershipEvent, Now } from '../../../src/mesh/membership-events.ts';
import type { BeatAnswer, MeshMessage } from '../../../src/mesh/message.ts';
import type { ModelLoad } from '../../../src/mesh/model-load.ts';
import { Outbox } from '../../../src/mesh/outbox.ts';
import { Sessions } from '../../../src/mesh/sessions.ts';
import { type PeerId, peerIdOf } from '../../../src/trust/keys.ts';
import { beatLimits, meshLimits } from '../../../src/util/limits/mesh.ts';
import { seededRandom } from '../../../src/util/random.ts';
import { type TestMember, TestMembers } from '../../support/test-members.ts';

const minuteMs = 60_000;
const verdictMs = beatLimits.silentMs + beatLimits.probeMs + beatLimits.staggerMs;

type Sent = Extract<MembershipEffect, { type: 'send' }>;

/** Stands between a member and its mesh: sees what it does, keeps from it what a test wants kept, and stops it. */
class Tap {
  readonly member: TestMember;
  /** What it wanted done since, and when, in virtual time. */
  readonly did: { readonly atMs: number; readonly effect: MembershipEffect }[] = [];
  /** Monotonic time of the last message of each peer that got through. */
  readonly lastWordMs = new Map<PeerId, number>();
  /** What never arrives. */
  drops: (event: MembershipEvent) => boolean = () => false;
  readonly #mesh: TestMembers;
  #waiting: MembershipEvent[] | undefined;

  constructor(mesh: TestMembers, member: TestMember) {
    this.#mesh = mesh;
    this.member = member;
    // Of a machine the mesh asks for no more than what a tap has.
    mesh.members.set(member.peer, { ...member, machine: this as unknown as Membership });
  }

  get nextWakeMs(): number {
    return this.#waiting === undefined ? this.member.machine.nextWakeMs : Number.POSITIVE_INFINITY;
  }

  /** As what the mesh knows it. */
  get present(): TestMember {
    return this.#mesh.members.get(this.member.peer) ?? this.member;
  }

  step(event: MembershipEvent, now: Now): MembershipEffect[] {
    if (this.#waiting !== undefined) {
      this.#waiting.push(event);
      return [];
    }
    if (this.drops(event)) {
      return [];
    }
    if (event.type === 'message') {
      this.lastWordMs.set(event.peer, now.monotonicMs);
    }
    const effects = this.member.machine.step(event, now);
    this.did.push(...effects.map((effect) => ({ atMs: now.monotonicMs, effect })));
    return effects;
  }

  /** As SIGSTOP: links stand, and what comes waits. */
  stop(): void {
    this.#waiting ??= [];
  }

  /** As SIGCONT: timers come first, then what waited, if it does not get lost. */
  wake(keep: (event: MembershipEvent) => boolean = () => true): void {
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    this.tell({ type: 'woken' });
    for (const event of waiting.filter(keep)) {
      this.tell(event);
    }
  }

  tell(event: MembershipEvent): void {
    this.#mesh.tell(this.present, event);
  }

  says(from: TestMember, message: MeshMessage): void {
    this.tell({ type: 'message', peer: from.peer, message });
  }

  sent<Type extends MeshMessage['type']>(type: Type): (Sent & { message: { type: Type } })[] {
    return this.did.flatMap(({ effect }) =>
      effect.type === 'send' && effect.message.type === type
        ? [effect as Sent & { message: { type: Type } }]
        : [],
    );
  }

  /** Notices of these types about `peer`, in order. */
  notices(peer: PeerId): string[] {
    return this.did.flatMap(({ effect }) =>
      effect.type === 'notice' && 'peer' in effect.notice && effect.notice.peer === peer
        ? [effect.notice.type]
        : [],
    );
  }

  /** When the first notice of this type about `peer` came. */
  noticeMs(type: string, peer: PeerId): number | undefined {
    return this.did.find(
      ({ effect: e }) =>
        e.type === 'notice' && e.notice.type === type && 'peer' in e.notice && e.notice.peer === peer,
    )?.atMs;
  }

  get verdicts(): number {
    return this.did.filter(({ effect }) => effect.type === 'broadcast' && effect.envelope.length < 250)
      .length;
  }
}

/** A mesh of so many that has settled; every member is tapped. The first is its founder. */
function settled(count: number, roles: Record<number, 'client'> = {}): { mesh: TestMembers; taps: Tap[] } {
  const mesh = new TestMembers();
  const founder = mesh.founder();
  const members = [founder];
  for (let number = 1; number < count; number++) {
    mesh.pass(130);
    members.push(mesh.newcomer([founder], { role: roles[number] ?? 'serve' }));
  }
  mesh.pass(minuteMs);
  return { mesh, taps: members.map((member) => new Tap(mesh, member)) };
}

function statusOf(mesh: TestMembers, at: Tap, of: Tap): string | undefined {
  return mesh.seenBy(at.member)[of.member.peer];
}

function isSilentFor(mesh: TestMembers, at: Tap, of: Tap): boolean | undefined {
  return at.member.machine.view(mesh.now()).find(({ record }) => record.peerId === of.member.peer)?.isSilent;
}

const isFrom = (tap: Tap) => (event: MembershipEvent) =>
  event.type === 'message' && event.peer === tap.member.peer;

describe('a neighbour that says nothing', () => {
  it('is silent 3.2 s after its last word, asked after at three others, and dead for all 4.2 s after it', () => {
    const { mesh, taps } = settled(6);
    const [f, x] = taps as [Tap, Tap];
    mesh.pass(1_500);
    x.stop();
    mesh.pass(verdictMs);
    const silentMs = f.noticeMs('silent', x.member.peer) ?? 0;
    const goneMs = f.noticeMs('gone', x.member.peer) ?? 0;
    const heardMs = f.lastWordMs.get(x.member.peer) ?? 0;
    expect(silentMs - heardMs).toBeCloseTo(beatLimits.silentMs);
    expect(goneMs - heardMs).toBeLessThanOrEqual(verdictMs);
    expect(goneMs - silentMs).toBeGreaterThanOrEqual(beatLimits.probeMs);
    const asked = f.sent('probe');
    expect(new Set(asked.map(({ peer }) => peer)).size).toBe(beatLimits.helpers);
    expect(
      asked.every(({ peer, message }) => message.subject === x.member.peer && peer !== x.member.peer),
    ).toBe(true);
    for (const tap of taps.filter((each) => each !== x)) {
      expect(statusOf(mesh, tap, x)).toBe('dead');
    }
  });

  it('is silent, and no more than that, while a verdict is out or it still answers one who was asked', () => {
    const { mesh, taps } = settled(5);
    const [f, x] = taps as [Tap, Tap];
    f.drops = isFrom(x);
    mesh.pass(30_000);
    expect(isSilentFor(mesh, f, x)).toBe(true);
    expect(statusOf(mesh, f, x)).toBe('alive');
    expect(f.notices(x.member.peer)).toEqual(['silent']);
    expect(taps.reduce((sum, tap) => sum + tap.verdicts, 0)).toBe(0);
    f.drops = () => false;
    mesh.pass(1_100);
    expect(isSilentFor(mesh, f, x)).toBe(false);
    expect(f.notices(x.member.peer)).toEqual(['silent', 'heard']);
  });

  it('is silent at once when its last link breaks', () => {
    const { mesh, taps } = settled(4);
    const [f, x] = taps as [Tap, Tap];
    mesh.cut(f.present, x.present);
    expect(f.notices(x.member.peer)).toEqual(['silent', 'down']);
    mesh.pass(10_000);
    // The two others hear it.
    expect(f.notices(x.member.peer)).not.toContain('gone');
    expect(statusOf(mesh, f, x)).toBe('alive');
  });

  it('is asked after again, and held dead only by what was asked last', () => {
    const { mesh, taps } = settled(5);
    const [f, x] = taps as [Tap, Tap];
    x.stop();
    mesh.pass(30_000);
    const times = f.did.flatMap(({ atMs, effect }) =>
      effect.type === 'send' && effect.message.type === 'probe' ? [atMs] : [],
    );
    const rounds = [...new Set(times)];
    expect(rounds.length).toBeGreaterThan(3);
    for (const [index, atMs] of rounds.slice(1).entries()) {
      expect(atMs - (rounds[index] ?? 0)).toBeGreaterThanOrEqual(beatLimits.reprobeMs + beatLimits.probeMs);
    }
  });

  it('is held dead by nobody for as long as new words of it come from others', () => {
    const { mesh, taps } = settled(5);
    const [f, x] = taps as [Tap, Tap];
    f.drops = (event) =>
      isFrom(x)(event) || (event.type === 'message' && event.message.type === 'probe-answer');
    const { silentMs, probeMs } = beatLimits;
    mesh.pass(silentMs - 100);
    x.tell({ type: 'facts', facts: { ...noName, name: 'new words' } });
    mesh.pass(1_000 + probeMs);
    expect(f.notices(x.member.peer)).toEqual(['silent']);
    // No newer ones came in the second round.
    mesh.pass(beatLimits.reprobeMs + probeMs + beatLimits.staggerMs);
    expect(f.notices(x.member.peer)).toEqual(['silent', 'gone']);
  });
});

describe('who may vouch for a silent neighbour', () => {
  it('is only who was asked, and only by the nonce of the question', () => {
    const { mesh, taps } = settled(7);
    const [f, x, ...others] = taps as [Tap, Tap, ...Tap[]];
    x.stop();
    while (f.noticeMs('silent', x.member.peer) === undefined) {
      mesh.pass(50);
    }
    const asked = f.sent('probe').map(({ peer }) => peer);
    const nonce = f.sent('probe')[0]?.message.nonce ?? new Uint8Array();
    for (const { member } of others) {
      const isAsked = asked.includes(member.peer);
      const told = isAsked ? new Uint8Array(beatLimits.nonceBytes) : nonce;
      f.says(member, { type: 'probe-answer', nonce: told });
    }
    mesh.pass(beatLimits.probeMs + beatLimits.staggerMs);
    expect(f.notices(x.member.peer)).toContain('gone');
  });

  it('is a helper that has got an answer to a beat of its own', () => {
    const { mesh, taps } = settled(4);
    const [f, x, helper] = taps as [Tap, Tap, Tap];
    const nonce = new Uint8Array(beatLimits.nonceBytes).fill(9);
    x.drops = () => true;
    helper.says(f.member, { type: 'probe', nonce, subject: x.member.peer });
    mesh.pass(500);
    expect(helper.sent('probe-answer')).toEqual([]);
    x.drops = () => false;
    helper.says(f.member, { type: 'probe', nonce, subject: x.member.peer });
    mesh.pass(10);
    expect(helper.sent('probe-answer')).toMatchObject([{ peer: f.member.peer, message: { nonce } }]);
  });

  it('is asked by a flood of probes in vain: so many are followed, and the asker is no subject', () => {
    const { mesh, taps } = settled(4);
    const [f, x, helper] = taps as [Tap, Tap, Tap];
    helper.did.length = 0;
    for (let count = 0; count < 200; count++) {
      const nonce = new Uint8Array(beatLimits.nonceBytes).fill(count);
      helper.says(f.member, { type: 'probe', nonce, subject: x.member.peer });
      helper.says(f.member, { type: 'probe', nonce, subject: f.member.peer });
    }
    mesh.pass(100);
    const toX = helper.sent('beat').filter(({ peer }) => peer === x.member.peer);
    const toF = helper.sent('beat').filter(({ peer }) => peer === f.member.peer);
    expect(toX.length).toBeLessThanOrEqual(beatLimits.probes + 1);
    expect(toF.length).toBeLessThanOrEqual(1);
  });
});

describe('a beat', () => {
  it('is answered with its nonce, at most so many times a second', () => {
    const { mesh, taps } = settled(2);
    const [f, x] = taps as [Tap, Tap];
    x.stop();
    mesh.pass(1_100);
    f.did.length = 0;
    for (let count = 0; count < 100; count++) {
      const nonce = new Uint8Array(beatLimits.nonceBytes).fill(count);
      f.says(x.member, { type: 'beat', nonce, loads: [] });
    }
    mesh.pass(10);
    expect(f.sent('beat-answer').length).toBe(beatLimits.answersPerSecond);
    expect(f.sent('beat-answer')[0]?.message.nonce).toEqual(new Uint8Array(beatLimits.nonceBytes));
  });

  it('tells how far away a neighbour is, which no wrong, foreign or repeated nonce can', () => {
    const { mesh, taps } = settled(3);
    const [f, x, y] = taps as [Tap, Tap, Tap];
    // Everything of an earlier time is forgotten.
    mesh.pass(10);
    const kept: BeatAnswer[] = [];
    f.drops = (event) => {
      const isAnswer = event.type === 'message' && event.message.type === 'beat-answer' && !isPassed;
      if (isAnswer && event.peer === x.member.peer) {
        kept.push(event.message as BeatAnswer);
      }
      return isAnswer;
    };
    let isPassed = false;
    mesh.pass(minuteMs + 5_000);
    const vitalsOf = (tap: Tap) => f.member.machine.vitals(tap.member.peer, mesh.now());
    expect(vitalsOf(x)?.rtt).toBeUndefined();
    isPassed = true;
    const [answer] = kept.slice(-1) as [BeatAnswer];
    f.says(y.member, answer);
    f.says(x.member, { ...answer, nonce: new Uint8Array(beatLimits.nonceBytes) });
    expect([vitalsOf(x)?.rtt, vitalsOf(y)?.rtt]).toEqual([undefined, undefined]);
    f.says(x.member, answer);
    const rtt = vitalsOf(x)?.rtt;
    expect(rtt?.p50Ms).toBeGreaterThanOrEqual(0);
    isPassed = false;
    mesh.pass(500);
    isPassed = true;
    f.says(x.member, answer);
    expect(vitalsOf(x)?.rtt).toEqual(rtt);
  });
});

describe('a process that did not run', () => {
  it.each([1_000, 10_000, 10 * minuteMs])('for %i ms holds nobody silent for it', (pauseMs) => {
    const { mesh, taps } = settled(4);
    const [f, ...others] = taps as [Tap, ...Tap[]];
    f.stop();
    mesh.pass(pauseMs);
    f.did.length = 0;
    f.wake();
    mesh.pass(5_000);
    for (const { member } of others) {
      expect(f.notices(member.peer)).not.toContain('silent');
    }
    expect(f.verdicts).toBe(0);
  });

  it('reads what came meanwhile before it concludes anything', () => {
    const { mesh, taps } = settled(3);
    const [f, x] = taps as [Tap, Tap];
    f.drops = isFrom(x);
    mesh.pass(beatLimits.silentMs - 1_050);
    f.stop();
    f.drops = () => false;
    mesh.pass(9_000);
    f.did.length = 0;
    f.wake();
    expect(f.notices(x.member.peer)).not.toContain('silent');
    mesh.pass(1_000);
    expect(f.notices(x.member.peer)).not.toContain('silent');
  });

  it('is silent though its link stands, dead for the mesh, and alive for all as soon as it wakes', () => {
    const { mesh, taps } = settled(5);
    const [f, x, ...others] = taps as [Tap, Tap, ...Tap[]];
    mesh.broadcasts = false;
    x.stop();
    mesh.pass(10_000);
    const before = sequenceAt(mesh, f, x);
    for (const tap of [f, ...others]) {
      expect(mesh.isLinked(tap.member, x.member)).toBe(true);
      expect([isSilentFor(mesh, tap, x), statusOf(mesh, tap, x)]).toEqual([true, 'dead']);
    }
    x.wake();
    // Its newer record refutes the verdicts, and needs neither a broadcast nor a comparison for that.
    mesh.pass(1_500);
    for (const tap of [f, ...others]) {
      expect([isSilentFor(mesh, tap, x), statusOf(mesh, tap, x)]).toEqual([false, 'alive']);
      expect(sequenceAt(mesh, tap, x)).toBeGreaterThan(before);
    }
  });
});

describe('a verdict', () => {
  it('is told by no client', () => {
    const { mesh, taps } = settled(4, { 3: 'client' });
    const [f, x, , client] = taps as [Tap, Tap, Tap, Tap];
    x.stop();
    mesh.pass(20_000);
    expect(isSilentFor(mesh, client, x)).toBe(true);
    expect(client.verdicts).toBe(0);
    expect([statusOf(mesh, f, x), statusOf(mesh, client, x)]).toEqual(['dead', 'dead']);
  });

  it('of one is enough where only two are alive, be the others dead as well', () => {
    const { mesh, taps } = settled(3);
    const [f, x, y] = taps as [Tap, Tap, Tap];
    y.stop();
    mesh.pass(10_000);
    expect(statusOf(mesh, f, y)).toBe('dead');
    x.stop();
    mesh.pass(verdictMs);
    expect(statusOf(mesh, f, x)).toBe('dead');
  });

  it('of one is not enough where three are alive', () => {
    const { mesh, taps } = settled(4);
    const [f, x, y, z] = taps as [Tap, Tap, Tap, Tap];
    f.drops = (event) =>
      isFrom(x)(event) || (event.type === 'message' && event.message.type === 'probe-answer');
    mesh.pass(verdictMs + 1_000);
    expect(f.verdicts).toBe(1);
    const told = f
      .sent('items')
      .filter(({ message }) => message.envelopes.some(({ length }) => length < 250));
    expect(told.map(({ peer }) => peer).sort()).toEqual([x, y, z].map(({ member }) => member.peer).sort());
    for (const tap of [f, y, z]) {
      expect(statusOf(mesh, tap, x)).toBe('alive');
    }
  });

  it('is not told by who hears nobody any more, of however many it was', () => {
    const { mesh, taps } = settled(5);
    const [f] = taps as [Tap];
    f.drops = (event) => event.type === 'message' || event.type === 'heard';
    mesh.pass(30_000);
    expect(taps.slice(1).every((tap) => isSilentFor(mesh, f, tap))).toBe(true);
    expect(f.verdicts).toBe(0);
  });

  it('on more than may be told in a minute waits until it may', () => {
    const { mesh, taps } = settled(meshLimits.deathsPerMinute + 4);
    const [f, y, ...dying] = taps as [Tap, Tap, ...Tap[]];
    for (const tap of dying) {
      tap.stop();
    }
    mesh.pass(10_000);
    const alive = (): number => dying.filter((tap) => statusOf(mesh, f, tap) === 'alive').length;
    expect(alive()).toBeGreaterThan(0);
    // Long before their records run out.
    mesh.pass(65_000);
    expect(alive()).toBe(0);
    expect(statusOf(mesh, f, y)).toBe('alive');
  });
});

describe('who leaves', () => {
  it('is not silent, though its machine is switched off without a word after the last one', () => {
    const { mesh, taps } = settled(4);
    const [f, x] = taps as [Tap, Tap];
    x.tell({ type: 'leave' });
    x.stop();
    mesh.pass(minuteMs);
    expect(f.notices(x.member.peer)).toEqual(['left']);
    mesh.unlink(f.present, x.present);
    expect(f.notices(x.member.peer)).toEqual(['left', 'down']);
    expect(f.sent('probe')).toEqual([]);
  });
});

const noName = {
  name: '',
  version: '1.0.0',
  features: [],
  addresses: [],
  devices: [],
  models: [],
  demand: [],
  served: [],
  neighbours: [],
  labels: [],
  rpcBuild: undefined,
};

function sequenceAt(mesh: TestMembers, at: Tap, of: Tap): number {
  const view = at.member.machine.view(mesh.now());
  return view.find(({ record }) => record.peerId === of.member.peer)?.record.sequence ?? -1;
}

/** The heartbeat alone, among so many neighbours that say nothing unless a test speaks for them. */
class LoneHeart {
  readonly peers: PeerId[];
  readonly outbox = new Outbox();
  readonly sessions = new Sessions();
  readonly heart: Liveness;
  /** Whether the mesh would take a verdict of this node, and how many it gave. */
  isNeighbour = true;
  verdicts = 0;
  loads: ModelLoad[] = [];
  nowMs = 0;

  /** `beats`: as somebody who is beaten by all of them, or beats all of them, where two beat each other. */
  constructor(neighbours: number, turn: 'beaten' | 'beats' = 'beats') {
    const ids = Array.from({ length: neighbours + 1 }, (_, index) =>
      peerIdOf(new Uint8Array(32).fill(index + 1)),
    ).sort();
    const [ownId = '', ...others] = turn === 'beats' ? ids : ids.reverse();
    this.peers = others;
    const own = { peer: ownId, isMember: true, isClient: false };
    const table = {
      get: () => ({ record: { left: false, epoch: 1, sequence: 1 }, endMs: Number.POSITIVE_INFINITY }),
      speakers: () => neighbours + 1,
      status: () => 'alive',
      maySpeakOf: () => this.isNeighbour,
    };
    const sharing = {
      pronounceDead: () => {
        this.verdicts++;
        return true;
      },
    };
    const parts = { own, shared: { table }, sessions: this.sessions, outbox: this.outbox, sharing };
    this.heart = new Liveness({
      ...(parts as unknown as ConstructorParameters<typeof Liveness>[0]),
      random: seededRandom(3),
      loads: () => this.loads,
      beats: true,
    });
    for (const peer of this.peers) {
      const session = this.sessions.open(peer, 0);
      Object.assign(session, { theirs: {}, admittedByThem: true });
      this.heart.up(peer, this.now());
    }
    this.outbox.drain();
  }

  now(): Now {
    return { wallMs: this.nowMs, monotonicMs: this.nowMs };
  }

  /** Lets time pass. Who is beaten answers if `answers` says so. Returns how often each was beaten. */
  pass(durationMs: number, answers = (_: PeerId) => true): Map<PeerId, number> {
    const beats = new Map<PeerId, number>();
    const endMs = this.nowMs + durationMs;
    for (let nextMs = this.heart.nextMs(); nextMs <= endMs; nextMs = this.heart.nextMs()) {
      this.nowMs = Math.max(this.nowMs, nextMs);
      this.heart.begin(this.now());
      this.heart.woken(this.now());
      for (const { peer, message } of this.#sent()) {
        if (message.type === 'beat') {
          beats.set(peer, (beats.get(peer) ?? 0) + 1);
        }
        if (message.type === 'beat' && answers(peer)) {
          this.heart.heard(peer, this.now());
          this.heart.take(peer, { ...message, type: 'beat-answer' }, this.now());
        }
      }
    }
    this.nowMs = endMs;
    return beats;
  }

  lose(peer: PeerId): void {
    this.sessions.delete(peer);
    this.heart.dropped(peer);
  }

  silent(): PeerId[] {
    return this.peers.filter((peer) => this.heart.isSilent(peer));
  }

  #sent(): Sent[] {
    return this.outbox.drain().filter((effect) => effect.type === 'send');
  }
}

describe('in a large mesh', () => {
  const many = meshLimits.fullMesh + 6;

  it('eight neighbours are beaten, always the same, and those that requests go to', () => {
    const lone = new LoneHeart(many);
    const beaten = lone.pass(10_000);
    expect(beaten.size).toBe(beatLimits.neighbours);
    expect([...beaten.values()].every((beats) => beats === 10)).toBe(true);
    const other = lone.peers.find((peer) => !beaten.has(peer)) ?? '';
    lone.heart.routed(other, lone.now());
    lone.outbox.drain();
    const withOther = lone.pass(10_000);
    expect([...withOther.keys()].sort()).toEqual([...beaten.keys(), other].sort());
  });

  it('who is not beaten by those that he beats does so every second all the same', () => {
    const lone = new LoneHeart(many, 'beaten');
    lone.pass(20_000);
    const beaten = lone.pass(10_000);
    expect([...beaten.values()]).toEqual(Array(beatLimits.neighbours).fill(10));
  });

  it('nobody is silent who is not beaten, nor when beating him ends', () => {
    const lone = new LoneHeart(many);
    const beaten = lone.pass(minuteMs);
    const other = lone.peers.find((peer) => !beaten.has(peer)) ?? '';
    lone.heart.routed(other, lone.now());
    expect(lone.pass(beatLimits.routedMs + 30_000).get(other)).toBe(beatLimits.routedMs / beatLimits.beatMs);
    expect(lone.silent()).toEqual([]);
  });

  it('who is beaten anew because the mesh became smaller has time to answer', () => {
    const lone = new LoneHeart(meshLimits.fullMesh + 1);
    lone.pass(minuteMs);
    lone.lose(lone.peers[0] ?? '');
    expect(lone.pass(beatLimits.beatMs + 10).size).toBe(meshLimits.fullMesh);
    expect(lone.silent()).toEqual([]);
    const [mute = ''] = lone.peers.slice(-1);
    lone.pass(beatLimits.silentMs + beatLimits.beatMs, (peer) => peer !== mute);
    expect(lone.silent()).toEqual([mute]);
  });
});

describe('a verdict on a record', () => {
  it.each([
    [1, 'a neighbour', true],
    [0, 'who is linked but is none by the hashes, and would use up what it may say', false],
  ])('is given %i times by %s', (times, _, isNeighbour) => {
    const lone = new LoneHeart(5);
    const [mute = ''] = lone.peers;
    lone.isNeighbour = isNeighbour;
    lone.pass(minuteMs, (peer) => peer !== mute);
    expect(lone.silent()).toEqual([mute]);
    expect(lone.verdicts).toBe(times);
  });
});

describe('the load that a beat tells', () => {
  const load = (model: string, inFlight: number, queued: number): ModelLoad => {
    return { model, inFlight, queued, slots: 4, tokensPerSecond: 1 };
  };
  const told = (loads: ModelLoad[]): string[] => {
    const lone = new LoneHeart(1);
    lone.loads = loads;
    lone.heart.routed(lone.peers[0] ?? '', lone.now());
    lone.nowMs = beatLimits.beatMs;
    lone.heart.woken(lone.now());
    const [beat] = lone.outbox.drain().flatMap((effect) => (effect.type === 'send' ? [effect.message] : []));
    return beat?.type === 'beat' ? beat.loads.map(({ model }) => model) : ['no beat'];
  };

  it('is of models that have something to do, the busiest first', () => {
    expect(told([load('idle', 0, 0), load('some', 1, 0), load('much', 1, 3), load('waits', 0, 2)])).toEqual([
      'much',
      'waits',
      'some',
    ]);
  });

  it('is of so many models at most', () => {
    const busy = Array.from({ length: 40 }, (_, index) => load(`m${index}`, index + 1, 0));
    expect(told(busy)).toEqual(Array.from({ length: beatLimits.loads }, (_, index) => `m${39 - index}`));
  });

  it('is kept of a neighbour with the time at which it came', () => {
    const lone = new LoneHeart(1);
    const [peer = ''] = lone.peers;
    const loads = [load('m', 2, 1)];
    lone.nowMs = 700;
    lone.heart.take(peer, { type: 'beat', nonce: new Uint8Array(beatLimits.nonceBytes), loads }, lone.now());
    expect(lone.heart.vitals(peer, 900)).toMatchObject({ load: { loads, atMs: 700 } });
  });
});

describe('a word that is waited for', () => {
  it('is so since the last one, or since it is waited for, and of nobody who is not beaten', () => {
    const lone = new LoneHeart(meshLimits.fullMesh + 6);
    const beaten = lone.pass(10_000);
    const [heard = ''] = beaten.keys();
    const other = lone.peers.find((peer) => !beaten.has(peer)) ?? '';
    const sinceMs = (peer: PeerId) => lone.heart.vitals(peer, lone.nowMs)?.awaited?.sinceMs;
    expect([sinceMs(heard), sinceMs(other)]).toEqual([10_000, undefined]);
    lone.pass(2_500, (peer) => peer !== heard);
    lone.heart.routed(other, lone.now());
    expect([sinceMs(heard), sinceMs(other)]).toEqual([10_000, 12_500]);
  });
});
