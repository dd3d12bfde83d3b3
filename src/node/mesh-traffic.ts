// The requests between this node and its peers while it is in a mesh: a pool of streams to ask them by, the replicas
// that they serve, and the door for what they ask.
import type { Dispatcher } from '../dispatch/dispatch.ts';
import { InferServer } from '../dispatch/infer/infer-server.ts';
import { MeshReplicas } from '../dispatch/remote/mesh-replicas.ts';
import type { PeerModelComponents } from '../dispatch/remote/peer-model.ts';
import { RouteReplicas } from '../dispatch/route/route-replicas.ts';
import { serveRoutes } from '../dispatch/route/route-server.ts';
import type { Mesh } from '../mesh/mesh.ts';
import type { Network, PeerStream } from '../net/network.ts';
import { StreamPool } from '../net/stream-pool.ts';
import { protocols } from '../trust/gate.ts';
import type { PeerId } from '../trust/keys.ts';
import { raceSignal } from '../util/async.ts';
import type { Clock } from '../util/clock.ts';
import { MeshnodeError } from '../util/errors.ts';
import { remoteLimits } from '../util/limits/dispatch.ts';
import type { Logger } from '../util/logging.ts';
import type { Random } from '../util/random.ts';

/** What of dispatch the mesh needs. */
export type MeshDispatch = Pick<Dispatcher, 'infer' | 'setRemote' | 'loads' | 'routes'>;

export interface MeshTrafficInit {
  readonly network: Network;
  readonly mesh: Mesh;
  /** Whether both sides have admitted each other. */
  readonly isUp: (peer: PeerId) => boolean;
  readonly dispatch: MeshDispatch;
  /** A client serves nobody, and asks others who serves what. */
  readonly isClient: boolean;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export class MeshTraffic {
  readonly #init: MeshTrafficInit;
  readonly #pool: StreamPool;
  readonly #replicas: MeshReplicas | RouteReplicas;
  readonly #server: InferServer | undefined;
  readonly #stopListening: () => void;
  /** When the mesh was told last that a peer is asked. */
  readonly #routed = new Map<PeerId, number>();

  /** Serves and asks from now on. */
  constructor(init: MeshTrafficInit) {
    const { network, mesh, dispatch, isClient, clock, log } = init;
    this.#init = init;
    this.#pool = new StreamPool({ open: (peer, id, options) => network.open(peer, id, options), clock, log });
    this.#replicas = isClient ? this.#askedReplicas() : this.#knownReplicas();
    this.#server = isClient ? undefined : this.#serve();
    this.#stopListening = mesh.onNotice((notice) => {
      if (notice.type === 'down') {
        this.#pool.drop(notice.peer);
        this.#routed.delete(notice.peer);
      }
    });
    dispatch.setRemote(this.#replicas);
  }

  /** Answers what peers have asked so far, and no more. Resolves when it is done. */
  async drain(): Promise<void> {
    await this.#server?.drain();
  }

  /** Asks and serves nobody any more. */
  async stop(): Promise<void> {
    this.#init.dispatch.setRemote(undefined);
    this.#stopListening();
    this.#replicas.stop();
    await Promise.all([this.#server?.stop(), this.#pool.close()]);
  }

  #knownReplicas(): MeshReplicas {
    const { network, mesh } = this.#init;
    return new MeshReplicas({ ...this.#caller(), self: network.peerId, mesh });
  }

  #askedReplicas(): RouteReplicas {
    const { network, mesh } = this.#init;
    return new RouteReplicas({
      ...this.#caller(),
      openRoute: (peer, signal) => network.open(peer, protocols.route, { signal }),
      routers: () => this.#routers(),
      wayTo: (peer) => {
        const vitals = mesh.vitals(peer);
        return { isSilent: vitals?.isSilent ?? false, rttMs: vitals?.rtt?.p50Ms };
      },
    });
  }

  #caller(): PeerModelComponents {
    const { mesh, clock, random, log } = this.#init;
    return {
      open: (peer, signal) => this.#open(peer, signal),
      onNotice: (listener) => mesh.onNotice(listener),
      awaited: (peer) => mesh.vitals(peer)?.awaited,
      routed: (peer, addresses) => this.#tellRouted(peer, addresses),
      clock,
      random,
      log,
    };
  }

  #serve(): InferServer {
    const { network, dispatch, clock, log } = this.#init;
    serveRoutes({ network, routes: () => dispatch.routes(network.addresses()), clock });
    return new InferServer({
      network,
      // Not held while a model loads: whether its client can wait is known to the node that asks.
      answer: (caller, request, signal) => dispatch.infer(request, { stream: false, caller, signal }).events,
      clock,
      log,
    });
  }

  /** Members that know who serves what, the nearest first. Who has left takes no requests, and passes none on. */
  #routers(): PeerId[] {
    const { mesh } = this.#init;
    const rttOf = (peer: PeerId): number => mesh.vitals(peer)?.rtt?.p50Ms ?? Number.POSITIVE_INFINITY;
    return mesh
      .members()
      .filter(({ isUp, status, record }) => isUp && status === 'alive' && record.role !== 'client')
      .map(({ record }) => ({ peer: record.peerId, rttMs: rttOf(record.peerId) }))
      .sort((one, other) => (one.rttMs < other.rttMs ? -1 : 1))
      .map(({ peer }) => peer);
  }

  async #open(peer: PeerId, signal: AbortSignal): Promise<PeerStream> {
    await this.#reach(peer, signal);
    return this.#pool.take(peer, protocols.infer, { signal });
  }

  /** In a large mesh not everybody is linked. Rejects with `peer_unreachable`. */
  async #reach(peer: PeerId, signal: AbortSignal): Promise<void> {
    const { mesh, isUp, clock } = this.#init;
    if (isUp(peer)) {
      return;
    }
    const up = Promise.withResolvers<void>();
    const stop = mesh.onNotice((notice) => notice.type === 'up' && notice.peer === peer && up.resolve());
    const late = (): void => up.reject(new MeshnodeError('peer_unreachable', `There is no link to ${peer}.`));
    const timer = clock.after(remoteLimits.reachMs, late);
    try {
      await raceSignal(up.promise, signal);
    } finally {
      stop();
      timer.cancel();
    }
  }

  #tellRouted(peer: PeerId, addresses: readonly string[] | undefined): void {
    const { mesh, isUp, clock } = this.#init;
    const nowMs = clock.monotonicMs();
    const lastMs = this.#routed.get(peer) ?? Number.NEGATIVE_INFINITY;
    if (nowMs - lastMs >= remoteLimits.routedMs || !isUp(peer)) {
      this.#routed.set(peer, nowMs);
      mesh.routed(peer, addresses);
    }
  }
}
