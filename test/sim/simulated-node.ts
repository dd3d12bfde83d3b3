// One machine of a simulation: its key, what it has written down, and the process that runs the real Membership
// on it. It carries out effects and brings events; it decides nothing.
import type { Membership } from '../../src/mesh/membership.ts';
import type { HearingVerdict, MembershipEffect, MembershipEvent } from '../../src/mesh/membership-events.ts';
import type { MembershipMemory } from '../../src/mesh/membership-memory.ts';
import type { MeshMessage } from '../../src/mesh/message.ts';
import { encodeMessage, readMessage } from '../../src/mesh/message-codec.ts';
import type { KeyPair, PeerId } from '../../src/trust/keys.ts';
import type { MeshTrust } from '../../src/trust/mesh-trust.ts';
import type { ErrorCode } from '../../src/util/errors.ts';
import type { BroadcastMember, BroadcastModel } from './broadcast-model.ts';
import { rememberedByIdentity } from './remembering.ts';
import { type ClockError, ProcessClock, type Scheduled, type VirtualClock } from './virtual-clock.ts';
import type { NetworkProcess, VirtualNetwork } from './virtual-network.ts';

/** What a machine stands in, and who watches it. */
export interface Surroundings {
  readonly clock: VirtualClock;
  readonly network: VirtualNetwork;
  readonly broadcast: BroadcastModel;
  /** Whether nodes write down what must outlive them: by default they do. */
  readonly keepsMemories?: boolean;
  /** Called when a liar vouches to `asker` for `subject`. */
  readonly vouched?: (asker: PeerId, subject: PeerId) => void;
  /** Called after each step with what came of it. */
  readonly stepped: (
    node: SimulatedNode,
    event: MembershipEvent,
    effects: readonly MembershipEffect[],
  ) => void;
}

export interface SimulatedNodeInit {
  /** For people: n0, n1, ... */
  readonly name: string;
  readonly identity: KeyPair;
  readonly listens: boolean;
  readonly surroundings: Surroundings;
}

export class SimulatedNode {
  readonly name: string;
  readonly identity: KeyPair;
  readonly peer: PeerId;
  readonly address: string | undefined;
  /** All that its processes have written down, the newest last. */
  readonly memories: MembershipMemory[] = [];
  /** It says of everybody that it hears of him. */
  vouchesForAll = false;
  readonly #surroundings: Surroundings;
  #process: NodeProcess | undefined;

  constructor({ name, identity, listens, surroundings }: SimulatedNodeInit) {
    this.name = name;
    this.identity = identity;
    this.peer = identity.peerId;
    this.address = listens ? `/dns4/${name}/tcp/4001` : undefined;
    this.#surroundings = surroundings;
  }

  get process(): NodeProcess | undefined {
    return this.#process;
  }

  /** Starts a process; `outlivedEpoch` is what it must announce itself above. */
  start(clockError: ClockError, outlivedEpoch: number | undefined, parts: MembershipWithTrust): void {
    const clock = new ProcessClock(this.#surroundings.clock, clockError);
    this.#process = new NodeProcess(this, { ...parts, clock, outlivedEpoch }, this.#surroundings);
    this.#process.begin();
  }

  /** The process is gone without a word. */
  crash(died: 'process' | 'machine'): void {
    this.#process?.end(died);
    this.#process = undefined;
  }
}

export interface MembershipWithTrust {
  readonly membership: Membership;
  /** What the membership judges by, for whoever signs in its name. */
  readonly trust: MeshTrust;
}

/** What is told to many is the same message to each. */
const encoded = rememberedByIdentity(encodeMessage);
const read = rememberedByIdentity(readMessage);

interface ProcessParts extends MembershipWithTrust {
  readonly clock: ProcessClock;
  readonly outlivedEpoch: number | undefined;
}

export class NodeProcess implements NetworkProcess, BroadcastMember {
  readonly peer: PeerId;
  readonly address: string | undefined;
  readonly membership: Membership;
  readonly trust: MeshTrust;
  readonly clock: ProcessClock;
  /** The highest epoch of its earlier lives, if it was left the memory of them. */
  readonly outlivedEpoch: number | undefined;
  readonly #node: SimulatedNode;
  readonly #surroundings: Surroundings;
  #wake: { readonly atMs: number; readonly scheduled: Scheduled } | undefined;
  #hasEnded = false;
  /** What happened while the process did not run; undefined while it does. */
  #missed: (() => void)[] | undefined;

  constructor(node: SimulatedNode, parts: ProcessParts, surroundings: Surroundings) {
    this.#node = node;
    this.#surroundings = surroundings;
    this.peer = node.peer;
    this.address = node.address;
    this.membership = parts.membership;
    this.trust = parts.trust;
    this.clock = parts.clock;
    this.outlivedEpoch = parts.outlivedEpoch;
  }

  get process(): NetworkProcess {
    return this;
  }

  get isPaused(): boolean {
    return this.#missed !== undefined;
  }

  begin(): void {
    this.#surroundings.network.attach(this);
    this.#surroundings.broadcast.join(this);
    this.take({ type: 'started' });
  }

  end(died: 'process' | 'machine'): void {
    this.#hasEnded = true;
    this.#missed = undefined;
    this.#wake?.scheduled.cancel();
    this.#surroundings.broadcast.leave(this.peer);
    this.#surroundings.network.detach(this, died);
  }

  pause(): void {
    this.#missed ??= [];
  }

  /** Everything that came in the meantime comes now; timers come before what waits in sockets. */
  resume(): void {
    const missed = this.#missed;
    if (missed === undefined) {
      return;
    }
    this.#missed = undefined;
    this.take({ type: 'woken' });
    for (const happening of missed) {
      happening();
    }
  }

  linked(peer: PeerId): void {
    this.take({ type: 'linked', peer });
  }

  unlinked(peer: PeerId): void {
    this.take({ type: 'unlinked', peer });
  }

  dialFailed(peer: PeerId, code: ErrorCode): void {
    this.take({ type: 'dial-failed', peer, code, isTried: true });
  }

  received(peer: PeerId, bytes: Uint8Array): void {
    const message = read(bytes);
    if (message.type === 'probe' && this.#node.vouchesForAll && !this.isPaused) {
      this.say(peer, { type: 'probe-answer', nonce: message.nonce });
      this.#surroundings.vouched?.(peer, message.subject);
    }
    this.take({ type: 'message', peer, message });
  }

  /** Sends what its membership does not want said. */
  say(peer: PeerId, message: MeshMessage): void {
    if (!this.#hasEnded && !this.isPaused) {
      this.#surroundings.network.send(this, peer, encoded(message));
    }
  }

  /** Broadcasts what its membership does not want said. */
  proclaim(envelope: Uint8Array): void {
    if (!this.#hasEnded && !this.isPaused) {
      this.#surroundings.broadcast.publish(this.peer, envelope);
    }
  }

  hear(envelope: Uint8Array, via: PeerId): HearingVerdict {
    if (this.#hasEnded || this.isPaused) {
      this.#missed?.push(() => this.hear(envelope, via));
      return 'ignore';
    }
    const { verdict, effects } = this.membership.hear(via, envelope, this.clock.now());
    this.#finish({ type: 'heard', peer: via, envelope }, effects);
    return verdict;
  }

  take(event: MembershipEvent): void {
    if (this.#hasEnded) {
      return;
    }
    if (this.#missed !== undefined) {
      this.#missed.push(() => this.take(event));
      return;
    }
    this.#finish(event, this.membership.step(event, this.clock.now()));
  }

  #finish(event: MembershipEvent, effects: readonly MembershipEffect[]): void {
    for (const effect of effects) {
      this.#apply(effect);
    }
    this.#armWake();
    this.#surroundings.stepped(this.#node, event, effects);
  }

  #apply(effect: MembershipEffect): void {
    const { network, broadcast } = this.#surroundings;
    switch (effect.type) {
      case 'send':
        network.send(this, effect.peer, encoded(effect.message));
        break;
      case 'dial':
        network.dial(this, effect.peer, effect.addresses);
        break;
      case 'disconnect':
        network.disconnect(this, effect.peer);
        break;
      case 'broadcast':
        broadcast.publish(this.peer, effect.envelope);
        break;
      case 'remember':
        if (this.#surroundings.keepsMemories ?? true) {
          this.#node.memories.push(this.membership.memory());
        }
        break;
      case 'notice':
        break;
    }
  }

  /** One wake at a time, at the moment that the machine names. */
  #armWake(): void {
    const atMs = this.clock.virtualMs(this.membership.nextWakeMs);
    if (atMs === this.#wake?.atMs) {
      return;
    }
    this.#wake?.scheduled.cancel();
    const scheduled = this.#surroundings.clock.at(atMs, () => {
      this.#wake = undefined;
      this.take({ type: 'woken' });
    });
    this.#wake = { atMs, scheduled };
  }
}
