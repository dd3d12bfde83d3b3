// The parts of the simulator on their own: its clock, its network, its model of broadcast.
import { describe, expect, it } from 'vitest';
import type { PeerId } from '../../src/trust/keys.ts';
import { BroadcastModel, gossipsubParameters } from './broadcast-model.ts';
import { randomStream } from './random-streams.ts';
import { Trace } from './trace.ts';
import { ProcessClock, startOfTimeMs, VirtualClock } from './virtual-clock.ts';
import { calmNetwork, type NetworkProcess, VirtualNetwork } from './virtual-network.ts';

/** A process that writes down what it is told. */
class Listener implements NetworkProcess {
  readonly peer: PeerId;
  readonly address: string | undefined;
  readonly told: string[] = [];

  constructor(peer: PeerId, options: { listens: boolean } = { listens: true }) {
    this.peer = peer;
    this.address = options.listens ? `at-${peer}` : undefined;
  }

  linked(peer: PeerId): void {
    this.told.push(`linked ${peer}`);
  }

  unlinked(peer: PeerId): void {
    this.told.push(`unlinked ${peer}`);
  }

  dialFailed(peer: PeerId, code: string): void {
    this.told.push(`failed ${peer} ${code}`);
  }

  received(peer: PeerId, bytes: Uint8Array): void {
    this.told.push(`${peer}: ${Buffer.from(bytes)}`);
  }
}

function world(seed = 1, conditions = calmNetwork) {
  const clock = new VirtualClock();
  const network = new VirtualNetwork(clock, randomStream(seed, 'network'), conditions);
  const [a, b] = [new Listener('a'), new Listener('b')];
  network.attach(a);
  network.attach(b);
  const say = (from: Listener, to: PeerId, text: string) => network.send(from, to, Buffer.from(text));
  const cut = (from: PeerId[], to: PeerId[], noticed = true) => {
    const made = { from: new Set(from), to: new Set(to), noticed };
    network.cut(made);
    return made;
  };
  return { clock, network, a, b, say, cut };
}

/** The same with a and b linked and nothing told yet. */
function linkedWorld(seed = 1, conditions = calmNetwork) {
  const made = world(seed, conditions);
  made.network.dial(made.a, 'b', ['at-b']);
  made.clock.runUntil(1_000);
  made.a.told.length = 0;
  made.b.told.length = 0;
  return made;
}

describe('the virtual clock', () => {
  it('runs events by time, and by insertion where times are equal', () => {
    const clock = new VirtualClock();
    const random = randomStream(7, 'times');
    const times = Array.from({ length: 500 }, () => Math.floor(random.float() * 50));
    const ran: [number, number][] = [];
    for (const [order, time] of times.entries()) {
      clock.at(time, () => ran.push([clock.nowMs, order]));
    }
    clock.runUntil(100);
    expect(ran).toEqual(
      times
        .map((time, order) => [time, order])
        .sort(([t, o], [u, p]) => (t ?? 0) - (u ?? 0) || (o ?? 0) - (p ?? 0)),
    );
    expect(clock.nowMs).toBe(100);
  });

  it('forgets what was cancelled, and never goes back', () => {
    const clock = new VirtualClock();
    const ran: string[] = [];
    clock.runUntil(10);
    clock.after(5, () => ran.push('cancelled')).cancel();
    clock.at(3, () => ran.push(`late at ${clock.nowMs}`));
    clock.runUntil(20);
    expect(ran).toEqual(['late at 10']);
  });

  it('gives a process a date with an error, and a count from its own start', () => {
    const clock = new VirtualClock();
    clock.runUntil(1_000_000);
    const process = new ProcessClock(clock, { skewMs: 500, driftPpm: 100 });
    clock.runUntil(1_000_250);
    expect(process.now()).toEqual({ wallMs: startOfTimeMs + 1_000_250 + 500 + 100, monotonicMs: 250 });
    expect(process.virtualMs(250)).toBe(1_000_250);
  });
});

describe('random streams', () => {
  it('do not shift each other', () => {
    const [one, other] = [randomStream(3, 'faults'), randomStream(3, 'joins')];
    one.float();
    expect(other.float()).toBe(randomStream(3, 'joins').float());
    expect(randomStream(3, 'faults').float()).not.toBe(randomStream(4, 'faults').float());
  });
});

describe('the virtual network', () => {
  it('links two processes, delivers in order and says the end', () => {
    const { clock, network, a, b, say } = world();
    network.dial(a, 'b', ['at-nobody', 'at-b']);
    clock.runUntil(1_000);
    for (const text of ['1', '2', '3', '4']) {
      say(a, 'b', text);
    }
    network.disconnect(a, 'b');
    clock.runUntil(2_000);
    expect(b.told).toEqual(['linked a', 'a: 1', 'a: 2', 'a: 3', 'a: 4', 'unlinked a']);
    expect(a.told).toEqual(['linked b', 'unlinked b']);
    expect(network.sent('a')).toEqual({ messages: 4, bytes: 4 });
  });

  it('tells of one link when both sides dial at once, and of its end when the last is gone', () => {
    const { clock, network, a, b } = world();
    network.dial(a, 'b', ['at-b']);
    network.dial(b, 'a', ['at-a']);
    clock.runUntil(1_000);
    network.disconnect(b, 'a');
    clock.runUntil(2_000);
    expect([a.told, b.told]).toEqual([
      ['linked b', 'unlinked b'],
      ['linked a', 'unlinked a'],
    ]);
  });

  it('fails a dial to nobody, to another key, and across a cut', () => {
    const { clock, network, a, cut } = world();
    network.dial(a, 'c', ['at-c']);
    network.dial(a, 'd', ['at-b']);
    clock.runUntil(10_000);
    cut(['b'], ['a']);
    network.dial(a, 'b', ['at-b']);
    clock.runUntil(20_000);
    expect(a.told).toEqual([
      'failed c peer_unreachable',
      'failed d peer_key_mismatch',
      'failed b peer_unreachable',
    ]);
  });

  it.each([
    ['process', ['failed b peer_unreachable']],
    ['machine', []],
  ] as const)('refuses a dial to a dead %s at once only if its machine runs', (died, told) => {
    const { clock, network, a, b } = world();
    network.detach(b, died);
    network.dial(a, 'b', ['at-b']);
    clock.runUntil(1_000);
    expect(a.told).toEqual(told);
    clock.runUntil(10_000);
    expect(a.told).toEqual(['failed b peer_unreachable']);
  });

  it('keeps what a short cut or a clog holds up, and delivers it in order', () => {
    const { clock, network, a, b, say, cut } = linkedWorld();
    const clog = cut(['a'], ['b'], false);
    say(a, 'b', '1');
    clock.runUntil(60_000);
    expect(b.told).toEqual([]);
    network.heal(clog);
    say(a, 'b', '2');
    clock.runUntil(61_000);
    expect(b.told).toEqual(['a: 1', 'a: 2']);
  });

  it('breaks a link at a one-way cut, each side at its own time', () => {
    const { clock, a, b, cut } = linkedWorld();
    cut(['a'], ['b']);
    clock.runUntil(20_000);
    expect([a.told, b.told]).toEqual([['unlinked b'], ['unlinked a']]);
  });

  it('leaves a link half open if the cut ends between the two, until the news arrives', () => {
    const halves = Array.from({ length: 30 }, (_, seed) => {
      const { clock, network, a, b, cut } = linkedWorld(seed);
      const made = cut(['a', 'b'], ['a', 'b']);
      clock.runUntil(5_000);
      const half = a.told.length + b.told.length === 1;
      network.heal(made);
      clock.runUntil(20_000);
      expect(a.told.length).toBe(b.told.length);
      return half;
    });
    expect(halves).toContain(true);
  });

  it('closes the links of a killed process at once, and of a dead machine after silence', () => {
    for (const [died, atOnce] of [
      ['process', true],
      ['machine', false],
    ] as const) {
      const { clock, network, a, b } = linkedWorld();
      network.detach(b, died);
      clock.runUntil(1_500);
      expect(a.told.length === 1).toBe(atOnce);
      clock.runUntil(20_000);
      expect([a.told, b.told]).toEqual([['unlinked b'], []]);
    }
  });

  it('loses, doubles and swaps messages when told to', () => {
    const odd = { ...calmNetwork, loss: 0.2, duplication: 0.2, reordering: 0.2 };
    const { clock, b, say, a } = linkedWorld(5, odd);
    const sent = Array.from({ length: 100 }, (_, index) => String(index));
    for (const text of sent) {
      say(a, 'b', text);
    }
    clock.runUntil(60_000);
    const got = b.told.map((line) => Number(line.slice(3)));
    const distinct = new Set(got);
    expect(distinct.size).toBeLessThan(100);
    expect(got.length).toBeGreaterThan(distinct.size);
    expect(got).not.toEqual(got.toSorted((one, other) => one - other));
  });
});

describe('the broadcast model', () => {
  /** Gossipsub's own defaults: what the model does is asked here, not what a node wants of it. */
  const defaults = { degree: { wanted: 6, fewest: 4, most: 12 }, told: 6 };

  function mesh(count: number, drop = 0) {
    const clock = new VirtualClock();
    const network = new VirtualNetwork(clock, randomStream(1, 'network'), calmNetwork);
    const model = new BroadcastModel(clock, randomStream(1, 'broadcast'), network, {
      ...gossipsubParameters,
      ...defaults,
      drop,
    });
    const processes = Array.from({ length: count }, (_, index) => new Listener(`p${index}`));
    const heard = new Map<PeerId, number>();
    for (const process of processes) {
      network.attach(process);
      const hear = () => {
        heard.set(process.peer, (heard.get(process.peer) ?? 0) + 1);
        return 'accept' as const;
      };
      model.join({ process, hear });
    }
    for (const [index, process] of processes.entries()) {
      for (const other of processes.slice(index + 1)) {
        network.dial(process, other.peer, [`at-${other.peer}`]);
      }
    }
    clock.runUntil(5_000);
    return { clock, model, heard };
  }

  const envelope = new Uint8Array(1_000).fill(7);

  it('brings a message to everybody once, for a few times its bytes a node', () => {
    const { clock, model, heard } = mesh(40);
    model.publish('p0', envelope);
    clock.runUntil(6_000);
    expect(heard.size).toBe(39);
    expect([...heard.values()].every((times) => times === 1)).toBe(true);
    const bytes = Array.from({ length: 40 }, (_, index) => model.sent(`p${index}`).bytes).reduce(
      (sum, each) => sum + each,
    );
    expect(bytes / 40 / envelope.length).toBeLessThan(12);
  });

  it('makes up for lost hops by telling what there is', () => {
    const { clock, model, heard } = mesh(40, 0.6);
    model.publish('p0', envelope);
    clock.runUntil(15_000);
    expect(heard.size).toBeGreaterThan(35);
  });

  it('can lose everything', () => {
    const { clock, model, heard } = mesh(10, 1);
    model.publish('p0', envelope);
    clock.runUntil(30_000);
    expect(heard.size).toBe(0);
  });
});

describe('the trace', () => {
  it('keeps the last lines and sums up all of them', () => {
    const [one, other] = [new Trace(2), new Trace(0)];
    for (const trace of [one, other]) {
      for (const word of ['a', 'b', 'c', 'd', 'e']) {
        trace.add(1_500, 'n1', word);
      }
    }
    expect(one.last().map((line) => line.trim())).toEqual(['1.500 n1   d', '1.500 n1   e']);
    expect(one.digest()).toBe(other.digest());
    other.add(1, 'n1', 'f');
    expect(one.digest()).not.toBe(other.digest());
  });
});
