// Runs a scenario: real members on virtual machines, done to as the scenario says, watched by the invariants.
// The same scenario always runs the same way, to the last event.
import type { MembershipEffect, MembershipEvent } from '../../src/mesh/membership-events.ts';
import { checkSignature, type PeerId, type SignatureCheck } from '../../src/trust/keys.ts';
import { BroadcastModel, gossipsubParameters } from './broadcast-model.ts';
import { Chronicle } from './chronicle.ts';
import {
  convergenceBoundMs,
  goneBoundMs,
  type InvariantName,
  Invariants,
  InvariantViolation,
} from './invariants.ts';
import { Lies } from './lies.ts';
import { LivenessInvariants, livenessLookMs } from './liveness-invariants.ts';
import { isCalm, makeLivenessScenario, settledMs } from './liveness-scenario.ts';
import { Population } from './population.ts';
import { randomStream } from './random-streams.ts';
import { rememberingCheck } from './remembering.ts';
import {
  type Action,
  makeScenario,
  type NodeNumber,
  type Scenario,
  type ScenarioOptions,
} from './scenario.ts';
import type { SimulatedNode, Surroundings } from './simulated-node.ts';
import { describeStep } from './step-text.ts';
import { Trace } from './trace.ts';
import { VirtualClock } from './virtual-clock.ts';
import { type Cut, calmNetwork, VirtualNetwork } from './virtual-network.ts';
import { Whereabouts } from './whereabouts.ts';

export interface RunOptions {
  /** Last lines of the trace to keep. */
  readonly traceLines: number;
  /** What signatures are checked with; the real one if absent. */
  readonly check?: SignatureCheck;
}

export interface Outcome {
  readonly scenario: Scenario;
  /** Steps that all nodes took. */
  readonly steps: number;
  readonly failure:
    | { readonly invariant: InvariantName; readonly message: string; readonly atMs: number }
    | undefined;
  readonly trace: readonly string[];
  /** Same seed, same hash. */
  readonly traceHash: string;
}

export function runSeed(
  seed: number,
  options: RunOptions & Partial<ScenarioOptions> = { traceLines: 0 },
): Outcome {
  return runScenario(makeScenario(seed, { mostNodes: options.mostNodes ?? 12 }), options);
}

/** The same of a scenario about who lives. */
export function runLivenessSeed(
  seed: number,
  options: RunOptions & Partial<ScenarioOptions> = { traceLines: 0 },
): Outcome {
  return runScenario(makeLivenessScenario(seed, { mostNodes: options.mostNodes ?? 12 }), options);
}

export function runScenario(scenario: Scenario, options: RunOptions): Outcome {
  const simulation = new Simulation(scenario, options);
  const failure = simulation.run();
  const { trace, steps } = simulation;
  return { scenario, steps, failure, trace: trace.last(), traceHash: trace.digest() };
}

class Simulation {
  readonly trace: Trace;
  steps = 0;
  readonly #scenario: Scenario;
  readonly #clock = new VirtualClock();
  readonly #network: VirtualNetwork;
  readonly #chronicle: Chronicle;
  readonly #population: Population;
  readonly #names: ReadonlyMap<PeerId, string>;
  readonly #invariants: Invariants;
  readonly #whereabouts: Whereabouts;
  readonly #lives: LivenessInvariants;
  readonly #lies: Lies;

  constructor(scenario: Scenario, { traceLines, check = checkSignature }: RunOptions) {
    const { seed, conditions, broadcastDrop } = scenario;
    const [clock, chronicle] = [this.#clock, new Chronicle()];
    this.#scenario = scenario;
    this.#chronicle = chronicle;
    this.trace = new Trace(traceLines);
    const network = new VirtualNetwork(clock, randomStream(seed, 'network'), conditions);
    this.#network = network;
    const parameters = { ...gossipsubParameters, drop: broadcastDrop };
    const broadcast = new BroadcastModel(clock, randomStream(seed, 'broadcast'), network, parameters);
    const stepped: Surroundings['stepped'] = (node, event, effects) => this.#stepped(node, event, effects);
    const vouched: Surroundings['vouched'] = (asker, subject) => this.#lives.vouched(asker, subject);
    const surroundings = { clock, network, broadcast, stepped, vouched };
    this.#population = new Population({ scenario, surroundings, chronicle, check: rememberingCheck(check) });
    const { nodes, meshId } = this.#population;
    this.#names = new Map(nodes.map(({ peer, name }) => [peer, name]));
    const nowMs = (): number => clock.nowMs;
    this.#invariants = new Invariants({ meshId, nodes, chronicle, nowMs });
    const passesOn = (peer: PeerId): boolean => chronicle.inviteOf(peer)?.role !== 'client';
    this.#whereabouts = new Whereabouts({ nodes, network, passesOn, nowMs });
    const watched = { meshId, nodes, network, chronicle, whereabouts: this.#whereabouts, nowMs };
    this.#lives = new LivenessInvariants(watched, conditions);
    this.#lies = new Lies({ meshId, nodes, clock, random: randomStream(seed, 'lies') });
  }

  /** What went wrong, if anything did. */
  run(): Outcome['failure'] {
    try {
      this.#schedule();
      this.#clock.runUntil(this.#scenario.endMs);
      return undefined;
    } catch (thrown) {
      const atMs = this.#clock.nowMs;
      if (thrown instanceof InvariantViolation) {
        return { invariant: thrown.invariant, message: thrown.message, atMs };
      }
      const message = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
      return { invariant: 'no-crash', message, atMs };
    }
  }

  #schedule(): void {
    const { actions, beats } = this.#scenario;
    this.#population.found();
    for (const { atMs, action } of actions) {
      this.#clock.at(atMs, () => {
        this.#do(action);
        this.#changed();
      });
    }
    if (beats) {
      this.#scheduleLives();
    } else {
      this.#scheduleMembership();
    }
  }

  #scheduleLives(): void {
    const { seed, healMs, endMs } = this.#scenario;
    for (let atMs = settledMs; atMs < endMs; atMs += livenessLookMs) {
      this.#clock.at(atMs, () => this.#lives.look());
    }
    this.#clock.at(healMs, () => this.#heal());
    if (isCalm(seed)) {
      this.#clock.at(settledMs, () => this.#lives.restBegins());
    }
    this.#clock.at(endMs, () => this.#lives.checkEnd());
  }

  #scheduleMembership(): void {
    const { healMs, endMs } = this.#scenario;
    for (let atMs = lookMs; atMs < endMs; atMs += lookMs) {
      this.#clock.at(atMs, () => this.#look());
    }
    this.#clock.at(healMs, () => this.#heal());
    this.#clock.at(healMs + convergenceBoundMs, () => this.#invariants.checkConverged());
    this.#clock.at(healMs + goneBoundMs, () => {
      this.#invariants.checkConverged();
      this.#invariants.checkGone();
    });
  }

  #heal(): void {
    this.trace.add(this.#clock.nowMs, '', 'everything heals');
    this.#network.conditions = this.#scenario.beats ? this.#scenario.conditions : calmNetwork;
    this.#network.healAll();
    for (const { process } of this.#population.nodes) {
      process?.resume();
    }
    this.#changed();
  }

  #look(): void {
    for (const node of this.#population.nodes) {
      this.#invariants.checkView(node);
    }
  }

  /** Does one thing of the scenario, or nothing if it makes no sense now. */
  #do(action: Action): void {
    this.trace.add(this.#clock.nowMs, '', JSON.stringify(action));
    switch (action.type) {
      case 'invite':
        this.#population.invite(action);
        break;
      case 'join':
        this.#population.join(action.node, action.invite);
        break;
      case 'intrude':
        this.#population.intrude(action.node, action.kind);
        break;
      case 'crash':
        this.#population.node(action.node).crash(action.died);
        break;
      case 'restart':
        this.#population.restart(action);
        break;
      case 'pause':
        this.#pause(action.node, action.forMs);
        break;
      case 'stop':
        this.#stop(action.node, action.forMs);
        break;
      case 'lie':
        this.#lie(action);
        break;
      case 'facts':
        this.#population
          .node(action.node)
          .process?.take({ type: 'facts', facts: this.#population.factsOf(action.node) });
        break;
      case 'leave':
        this.#leave(action.node);
        break;
      case 'revoke':
        this.#population.revoke(action.node, action.by);
        break;
      case 'cut':
        this.#cut(action);
        break;
    }
  }

  #pause(number: NodeNumber, forMs: number): void {
    const { process, peer } = this.#population.node(number);
    if (process === undefined || process.isPaused) {
      return;
    }
    const [self, everybody] = [new Set([peer]), new Set(this.#names.keys())];
    const cuts: Cut[] = [
      { from: self, to: everybody, noticed: true },
      { from: everybody, to: self, noticed: true },
    ];
    process.pause();
    for (const cut of cuts) {
      this.#network.cut(cut);
    }
    this.#clock.after(forMs, () => {
      for (const cut of cuts) {
        this.#network.heal(cut);
      }
      process.resume();
    });
  }

  /** After SIGSTOP links stand, and after SIGCONT everything that waited comes at once. */
  #stop(number: NodeNumber, forMs: number): void {
    const { process } = this.#population.node(number);
    if (process !== undefined && !process.isPaused) {
      process.pause();
      this.#clock.after(forMs, () => {
        process.resume();
        this.#changed();
      });
    }
  }

  #lie({ node, kind, about, forMs }: Extract<Action, { type: 'lie' }>): void {
    const liar = this.#population.node(node);
    this.#lives.lies(liar.peer);
    this.#lies.begin(liar, { kind, about: this.#population.node(about).peer, forMs });
  }

  /** Something was done to a node or to the network. */
  #changed(): void {
    if (this.#scenario.beats) {
      this.#whereabouts.update();
    }
  }

  #leave(number: NodeNumber): void {
    const node = this.#population.node(number);
    const { process } = node;
    if (process === undefined || process.isPaused) {
      return;
    }
    this.#chronicle.left(node.peer, this.#clock.nowMs);
    process.take({ type: 'leave' });
    this.#clock.after(leavingMs, () => {
      if (node.process === process) {
        node.crash('process');
        this.#changed();
      }
    });
  }

  #cut({ from, to, noticed, forMs }: Extract<Action, { type: 'cut' }>): void {
    const peersOf = (numbers: readonly NodeNumber[]) =>
      new Set(numbers.map((number) => this.#population.node(number).peer));
    const cut = { from: peersOf(from), to: peersOf(to), noticed };
    this.#network.cut(cut);
    this.#clock.after(forMs, () => {
      this.#network.heal(cut);
      this.#changed();
    });
  }

  #stepped(node: SimulatedNode, event: MembershipEvent, effects: readonly MembershipEffect[]): void {
    this.steps += 1;
    this.trace.add(this.#clock.nowMs, node.name, describeStep(event, effects, this.#names));
    const certificates = node.process?.membership.certificates ?? [];
    if (certificates.length > 0) {
      const givers = certificates.map(({ issuer }) => issuer?.peerId);
      this.#chronicle.isGivenBy(node.peer, givers);
    }
    this.#invariants.stepped(node, effects);
    if (this.#scenario.beats) {
      this.#lives.stepped(node, effects);
    }
  }
}

/** How often everybody's views are looked at, besides when they say that they changed. */
const lookMs = 5_000;

/** Time between a node's word that it leaves and the end of its process. */
const leavingMs = 1_000;
