// Runs the membership machine over the network: its effects become dials, messages and broadcasts, and what
// happens to them becomes its next event, one at a time. Decides nothing itself.
import type { LinkEvent, Network } from '../net/network.ts';
import { protocols } from '../trust/gate.ts';
import type { PeerId } from '../trust/keys.ts';
import { background, Emitter } from '../util/async.ts';
import type { Clock, Timer } from '../util/clock.ts';
import { asMeshnodeError, MeshnodeError } from '../util/errors.ts';
import { meshLimits, pipeLimits } from '../util/limits/mesh.ts';
import type { Logger } from '../util/logging.ts';
import type { Broadcast } from './broadcast.ts';
import { JoinWatch } from './join-watch.ts';
import type { Vitals } from './liveness.ts';
import type { Membership, MemberView } from './membership.ts';
import type {
  HearingVerdict,
  MembershipEffect,
  MembershipEvent,
  MembershipNotice,
  Now,
} from './membership-events.ts';
import type { MembershipMemory } from './membership-memory.ts';
import type { MeshMessage } from './message.ts';
import { PeerPipes, type PipeProtocol } from './peer-pipes.ts';
import type { LocalFacts } from './record.ts';

export interface MeshInit {
  readonly membership: Membership;
  readonly network: Network;
  readonly broadcast: Broadcast;
  /** Writes down what must outlive the process. */
  readonly remember: (memory: MembershipMemory) => Promise<void>;
  /** Peers that must be tried before a join is given up. */
  readonly bootstrap: readonly PeerId[];
  readonly isClient: boolean;
  readonly contacts?: ContactListener;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Hears what comes of contacts with peers, for the owner to see; nothing is decided by it. */
export interface ContactListener {
  /** A dial was tried and came to nothing; `data.attempts` say where. */
  dialFailed(peer: PeerId, error: MeshnodeError): void;
  /** A greeting has come that tells the time of the peer, milliseconds of Unix time. */
  toldTime(peer: PeerId, clockMs: number): void;
}

export class Mesh {
  readonly #init: MeshInit;
  readonly #membership: Membership;
  readonly #pipes: PeerPipes;
  readonly #notices: Emitter<MembershipNotice>;
  readonly #join: JoinWatch;
  readonly #stopping = new AbortController();
  /** Events that came while another was being taken. */
  readonly #waiting: { readonly event: MembershipEvent; readonly link: string | undefined }[] = [];
  #isStepping = false;
  #wake: Timer | undefined;
  #remembering: Promise<void> | undefined;
  #rememberAgain = false;
  #unlisten: (() => void) | undefined;

  constructor(init: MeshInit) {
    const { network, clock, log, membership } = init;
    this.#init = init;
    this.#membership = membership;
    this.#notices = new Emitter((cause) => log.error({ err: cause }, 'a listener of the mesh failed'));
    this.#join = new JoinWatch(init.bootstrap);
    this.#pipes = new PeerPipes({
      network,
      clock,
      log,
      deliver: (peer, message, link) => {
        if (message.type === 'hello' || message.type === 'admitted') {
          init.contacts?.toldTime(peer, message.clockMs);
        }
        this.#tell({ type: 'message', peer, message }, link);
      },
      onLost: (peer) => this.#tell({ type: 'lost', peer }),
      isAdmitted: (peer) => membership.roleOf(peer) !== undefined,
      whenUp: (peer, signal) => this.#whenUp(peer, signal),
    });
  }

  /** Begins to take part; `joined` says when the node is a member. Rejects with `shutting_down` if it was stopped meanwhile. */
  async start(): Promise<void> {
    const { network, broadcast } = this.#init;
    this.#stopping.signal.throwIfAborted();
    await broadcast.start((peer, envelope) => this.#hear(peer, envelope));
    if (this.#stopping.signal.aborted) {
      await broadcast.stop();
    }
    this.#stopping.signal.throwIfAborted();
    this.#unlisten = network.onLink((event) => this.#linkChanged(event));
    this.#tell({ type: 'started' });
    for (const peer of new Set(network.links().map((link) => link.peer))) {
      this.#tell({ type: 'linked', peer });
    }
  }

  /**
   * Resolves when this node is a member. Rejects with why it was refused (`token_*`, `certificate_*`,
   * `mesh_mismatch`, `clock_skewed`), with `peer_key_mismatch`, or with `join_failed` when nobody could be reached.
   */
  joined(signal?: AbortSignal): Promise<void> {
    return this.#join.result(this.#init.clock, signal);
  }

  /** Hears what happens in the mesh; the returned function ends that. */
  onNotice(listener: (notice: MembershipNotice) => void): () => void {
    return this.#notices.listen(listener);
  }

  members(): MemberView[] {
    return this.#membership.view(this.#now());
  }

  /** What the beats of a neighbour say of it; undefined of whoever is none. */
  vitals(peer: PeerId): Vitals | undefined {
    return this.#membership.vitals(peer, this.#now());
  }

  /** Says that this node sends requests to a member: it is linked to it for a while, and beats it. */
  routed(peer: PeerId, addresses: readonly string[] = []): void {
    this.#tell({ type: 'routed', peer, addresses });
  }

  setFacts(facts: LocalFacts): void {
    this.#tell({ type: 'facts', facts });
  }

  /** Takes and spreads what this node's owner has signed: revocations and uses. */
  publish(envelopes: readonly Uint8Array[]): void {
    this.#tell({ type: 'publish', envelopes });
  }

  /** Tells the mesh that this node leaves, and gives that the time to be sent. */
  async leave(): Promise<void> {
    this.#tell({ type: 'leave' });
    await Promise.all(this.members().map(({ record }) => this.#pipes.drained(record.peerId)));
  }

  /** Takes no more part, and says nothing about it: the node may come back. Links stay for their owner to close. */
  async stop(): Promise<void> {
    this.#stopping.abort(new MeshnodeError('shutting_down', 'The node is stopping.'));
    this.#unlisten?.();
    this.#wake?.cancel();
    this.#pipes.stop();
    await this.#init.broadcast.stop();
    await this.#remembering;
    if (this.#membership.isMember) {
      await this.#init.remember(this.#membership.memory()).catch((cause: unknown) => {
        this.#init.log.warn({ err: cause }, 'what is known of the mesh could not be written down');
      });
    }
  }

  #now(): Now {
    const { clock } = this.#init;
    return { wallMs: clock.wallMs(), monotonicMs: clock.monotonicMs() };
  }

  #linkChanged({ type, link, remaining }: LinkEvent): void {
    if (type === 'opened' && remaining === 1) {
      this.#tell({ type: 'linked', peer: link.peer });
    } else if (type === 'closed' && remaining === 0) {
      this.#pipes.drop(link.peer);
      this.#tell({ type: 'unlinked', peer: link.peer });
    }
  }

  /** `link`: the id of that by which a message came. */
  #tell(event: MembershipEvent, link?: string): void {
    this.#waiting.push({ event, link });
    if (this.#isStepping) {
      return;
    }
    this.#isStepping = true;
    try {
      for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
        this.#step(next.event, next.link);
      }
    } finally {
      this.#isStepping = false;
    }
    this.#setWake();
  }

  /** A fault of ours in one event must not end the node, nor keep the others from being taken. */
  #step(event: MembershipEvent, link: string | undefined): void {
    try {
      const effects = this.#stopping.signal.aborted ? [] : this.#membership.step(event, this.#now());
      this.#carryOut(effects, event.type === 'message' && link ? { peer: event.peer, link } : undefined);
    } catch (cause) {
      this.#init.log.error({ err: cause, event: event.type }, 'the mesh could not take an event');
    }
  }

  #hear(peer: PeerId, envelope: Uint8Array): HearingVerdict {
    const { verdict, effects } = this.#membership.hear(peer, envelope, this.#now());
    this.#carryOut(effects);
    this.#setWake();
    return verdict;
  }

  #setWake(): void {
    const { clock } = this.#init;
    this.#wake?.cancel();
    if (!this.#stopping.signal.aborted) {
      const delayMs = Math.max(0, this.#membership.nextWakeMs - clock.monotonicMs());
      this.#wake = clock.after(Math.min(delayMs, meshLimits.sweepMs), () => this.#tell({ type: 'woken' }), {
        keepAlive: false,
      });
    }
  }

  /** `asked`: whom the effects answer, and by which link. */
  #carryOut(
    effects: readonly MembershipEffect[],
    asked?: { readonly peer: PeerId; readonly link: string },
  ): void {
    for (const effect of effects) {
      switch (effect.type) {
        case 'send': {
          const { peer, message } = effect;
          const link = peer === asked?.peer ? asked.link : undefined;
          this.#pipes.send(peer, this.#protocolFor(peer, message), message, link);
          break;
        }
        case 'dial':
          void this.#dial(effect.peer, effect.addresses);
          break;
        case 'disconnect':
          this.#inBackground('disconnect', this.#disconnect(effect.peer));
          break;
        case 'broadcast':
          this.#init.broadcast.publish(effect.envelope);
          break;
        case 'remember':
          this.#remember();
          break;
        case 'notice':
          this.#notice(effect.notice);
          break;
      }
    }
  }

  #notice(notice: MembershipNotice): void {
    if (notice.type === 'up') {
      this.#init.broadcast.admit(notice.peer);
    } else if (notice.type === 'down') {
      this.#init.broadcast.drop(notice.peer);
    }
    this.#join.notice(notice);
    this.#notices.emit(notice);
  }

  /** Admission goes over join; what members share goes over gossip, which is closed to clients; beats wait for neither. */
  #protocolFor(peer: PeerId, { type }: MeshMessage): PipeProtocol {
    if (type === 'beat' || type === 'beat-answer' || type === 'probe' || type === 'probe-answer') {
      return protocols.heartbeat;
    }
    const isAdmission = type === 'hello' || type === 'admitted' || type === 'refused';
    const isWithClient = this.#init.isClient || this.#membership.roleOf(peer) === 'client';
    const usesJoin = isAdmission || isWithClient || !this.#membership.isUp(peer);
    return usesJoin ? protocols.join : protocols.gossip;
  }

  async #dial(peer: PeerId, addresses: readonly string[]): Promise<void> {
    try {
      await this.#init.network.dial(peer, addresses, this.#stopping.signal);
    } catch (thrown) {
      const error = asMeshnodeError(thrown, 'peer_unreachable');
      const { code, message, details } = error;
      const isTried = details.data?.['backedOffMs'] === undefined;
      this.#init.log.debug({ peer, code, err: thrown }, 'a dial came to nothing');
      if (isTried) {
        this.#init.contacts?.dialFailed(peer, error);
        this.#join.dialFailed(peer, code, message);
      }
      this.#tell({ type: 'dial-failed', peer, code, isTried });
    }
  }

  async #disconnect(peer: PeerId): Promise<void> {
    await this.#pipes.drained(peer);
    await this.#init.network.disconnect(peer);
  }

  /** One writing at a time, and one more if something changed meanwhile. */
  #remember(): void {
    if (this.#remembering !== undefined) {
      this.#rememberAgain = true;
      return;
    }
    const task = this.#init.remember(this.#membership.memory()).finally(() => {
      this.#remembering = undefined;
      if (this.#rememberAgain) {
        this.#rememberAgain = false;
        this.#remember();
      }
    });
    this.#remembering = task.catch(() => {}); // Told below.
    this.#inBackground('remember', task);
  }

  async #whenUp(peer: PeerId, signal: AbortSignal): Promise<void> {
    if (this.#membership.isUp(peer)) {
      return;
    }
    const up = Promise.withResolvers<void>();
    const unlisten = this.onNotice((notice) => notice.type === 'up' && notice.peer === peer && up.resolve());
    const late = (): void =>
      up.reject(new MeshnodeError('protocol_refused', 'The peer gossips before it is admitted.'));
    const timer = this.#init.clock.after(pipeLimits.whenUpMs, late, { keepAlive: false });
    signal.addEventListener('abort', late, { once: true });
    try {
      await up.promise;
    } finally {
      unlisten();
      timer.cancel();
      signal.removeEventListener('abort', late);
    }
  }

  #inBackground(name: string, task: Promise<unknown>): void {
    background(task, name, this.#init.log);
  }
}
