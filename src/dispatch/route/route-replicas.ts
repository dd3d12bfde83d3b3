// The replicas of the mesh for a client, which keeps no table of its own: it asks the nearest member who serves what,
// now and then and before a request. What it cannot reach itself it asks through that member.
import { FrameStream } from '../../net/frame-stream.ts';
import type { PeerStream } from '../../net/network.ts';
import type { PeerId } from '../../trust/keys.ts';
import { background, Emitter } from '../../util/async.ts';
import type { Timer } from '../../util/clock.ts';
import { MeshnodeError } from '../../util/errors.ts';
import { routeLimits as limits } from '../../util/limits/dispatch.ts';
import { RouteAnswer, RouteQuestion } from '../../wire/route-messages.ts';
import { PeerModel, type PeerModelComponents, type PeerNews } from '../remote/peer-model.ts';
import { type RemoteReplica, type RemoteReplicas, remoteReplicaOf } from '../replica.ts';
import { routesOfMessage } from './route-codec.ts';
import type { RoutedModel, RoutedReplica } from './routes.ts';

export interface RouteReplicasComponents extends PeerModelComponents {
  /** A stream of `/meshnode/route/1`. Rejects with `peer_unreachable`, `protocol_refused` or `stream_broken`. */
  readonly openRoute: (peer: PeerId, signal: AbortSignal) => Promise<PeerStream>;
  /** Members that can be asked, the nearest first. */
  readonly routers: () => readonly PeerId[];
  /** What is known of the way to a peer. */
  readonly wayTo: (peer: PeerId) => { readonly isSilent: boolean; readonly rttMs: number | undefined };
}

interface Told {
  readonly router: PeerId;
  readonly models: readonly RoutedModel[];
  /** Monotonic time at which it came. */
  readonly atMs: number;
}

interface Known {
  readonly model: PeerModel;
  readonly createdMs: number;
}

export class RouteReplicas implements RemoteReplicas {
  readonly #components: RouteReplicasComponents;
  readonly #changes: Emitter<void>;
  readonly #stopping = new AbortController();
  readonly #stopListening: () => void;
  #told: Told | undefined;
  #asking: Promise<void> | undefined;
  /** Members that did not answer, and when. */
  readonly #failedMs = new Map<PeerId, number>();
  #known = new Map<string, Known>();
  #replicas: readonly RemoteReplica[] | undefined;
  #again: Timer | undefined;

  /** Asks from now on. */
  constructor(components: RouteReplicasComponents) {
    const { log, onNotice } = components;
    this.#components = components;
    this.#changes = new Emitter((err) => log.error({ err }, 'a listener of replicas failed'));
    this.#stopListening = onNotice((notice) => {
      // Another one is to be asked if it was the one that told this, and passes requests on.
      if (notice.type === 'up' || (notice.type === 'left' && notice.peer === this.#told?.router)) {
        this.#keepAsking();
      } else if (notice.type === 'changed') {
        this.#changed();
      }
    });
    this.#keepAsking();
  }

  replicas(): readonly RemoteReplica[] {
    this.#replicas ??= this.#look();
    return this.#replicas;
  }

  onChange(listener: () => void): () => void {
    return this.#changes.listen(listener);
  }

  async refresh(): Promise<void> {
    const ageMs = this.#components.clock.monotonicMs() - (this.#told?.atMs ?? Number.NEGATIVE_INFINITY);
    if (ageMs > limits.freshMs) {
      await this.#forAWhile(this.#ask());
    }
  }

  /** Requests go by what was told before if that is all there is in time. */
  async #forAWhile(asking: Promise<void>): Promise<void> {
    const late = Promise.withResolvers<void>();
    const timer = this.#components.clock.after(limits.waitMs, () => late.resolve());
    await Promise.race([asking, late.promise]);
    timer.cancel();
  }

  stop(): void {
    this.#stopping.abort();
    this.#stopListening();
    this.#again?.cancel();
  }

  #keepAsking(): void {
    const { clock, log } = this.#components;
    this.#again?.cancel();
    if (!this.#stopping.signal.aborted) {
      this.#again = clock.after(limits.refreshMs, () => this.#keepAsking(), { keepAlive: false });
      background(this.#ask(), 'route', log);
    }
  }

  /** One question at a time, to one member after the other until one answers. Never rejects. */
  #ask(): Promise<void> {
    this.#asking ??= this.#askInTurn().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #askInTurn(): Promise<void> {
    const { clock, log } = this.#components;
    for (const router of this.#routers()) {
      try {
        const models = await this.#question(router);
        this.#told = { router, models, atMs: clock.monotonicMs() };
        this.#changed();
        return;
      } catch (thrown) {
        this.#failedMs.set(router, clock.monotonicMs());
        log.debug({ err: thrown, peer: router }, 'a member did not say who serves what');
      }
    }
  }

  /** The nearest first, but those last that did not answer lately. */
  #routers(): PeerId[] {
    const nowMs = this.#components.clock.monotonicMs();
    for (const [router, failedMs] of this.#failedMs) {
      if (nowMs - failedMs > limits.avoidMs) {
        this.#failedMs.delete(router);
      }
    }
    const hasFailed = (router: PeerId): number => Number(this.#failedMs.has(router));
    return this.#components
      .routers()
      .toSorted((one, other) => hasFailed(one) - hasFailed(other))
      .slice(0, limits.tries);
  }

  async #question(router: PeerId): Promise<RoutedModel[]> {
    const { clock, openRoute } = this.#components;
    const { signal } = this.#stopping;
    const { messageBytes, messageMs } = limits;
    const stream = await openRoute(router, signal);
    try {
      const frames = new FrameStream(stream, { messageBytes, messageMs }, clock);
      await frames.writeMessage(RouteQuestion, {}, { signal });
      const answer = await frames.readMessage(RouteAnswer, { signal });
      if (answer === undefined) {
        throw new MeshnodeError('stream_broken', 'The member ended its stream without an answer.');
      }
      await frames.end(signal);
      return routesOfMessage(answer);
    } catch (thrown) {
      stream.abort(thrown instanceof Error ? thrown : new Error(String(thrown)));
      throw thrown;
    }
  }

  #changed(): void {
    this.#replicas = undefined;
    this.#changes.emit();
  }

  #look(): RemoteReplica[] {
    const known = new Map<string, Known>();
    const { router, models, atMs } = this.#told ?? { router: '', models: [], atMs: 0 };
    const replicas = models.flatMap((model) =>
      model.replicas.map((replica) => this.#replicaOf(model, replica, { router, atMs }, known)),
    );
    this.#known = known;
    return replicas;
  }

  #replicaOf(
    { name, digest, abilities, sizeBytes, contextTokens }: RoutedModel,
    { peerId, peer, model: ownName, state, requests, slots, addresses }: RoutedReplica,
    { router, atMs }: { readonly router: PeerId; readonly atMs: number },
    known: Map<string, Known>,
  ): RemoteReplica {
    const { clock, wayTo } = this.#components;
    const key = `${peerId} ${ownName}`;
    const before = this.#known.get(key);
    const createdMs = before?.createdMs ?? clock.wallMs();
    const facts = { name: ownName, abilities, slots, addresses, through: { peer: router, name } };
    const news = (): PeerNews => ({ load: { requests, slots, atMs }, rttMs: wayTo(peerId).rttMs });
    const model = before?.model.as(facts, news) ?? new PeerModel(peerId, facts, news, this.#components);
    known.set(key, { model, createdMs });
    return remoteReplicaOf({
      ...{ peerId, peer, model, digest, stage: state, createdMs, sizeBytes, contextTokens, addresses },
      isHeard: !wayTo(peerId).isSilent,
    });
  }
}
