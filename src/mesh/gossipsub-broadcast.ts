// Broadcasts by gossipsub, on one topic for the mesh. An envelope is passed on only once the mesh has judged it;
// everything a peer can send is bounded before that. Envelopes carry the signatures of their authors, so gossipsub
// signs nothing: it would cost more than all the rest, and the peer an envelope came from is known without.
import { createHash } from 'node:crypto';
import {
  type GossipSub,
  type GossipsubOpts,
  gossipsub,
  StrictNoSign,
  TopicValidatorResult,
} from '@libp2p/gossipsub';
import { isStartable, type Startable } from '@libp2p/interface';
import type { Libp2pComponents, ServiceFactory } from '../net/libp2p-node.ts';
import type { Gate } from '../net/network.ts';
import type { PeerId } from '../trust/keys.ts';
import { withTimeout } from '../util/async.ts';
import type { Clock } from '../util/clock.ts';
import { asMeshnodeError, assertInvariant, MeshnodeError } from '../util/errors.ts';
import { gossipsubLimits } from '../util/limits/mesh.ts';
import { trustLimits } from '../util/limits/trust.ts';
import type { Logger } from '../util/logging.ts';
import type { Broadcast, Hear } from './broadcast.ts';
import { EnvelopeRate } from './envelope-rate.ts';
import { GossipsubPeers } from './gossipsub-peers.ts';
import type { HearingVerdict } from './membership-events.ts';

export interface GossipsubBroadcastInit {
  /** The host's: whom this node may open gossipsub to. */
  readonly gate: Gate;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What runs between `start` and `stop`. */
interface Running {
  readonly router: GossipSub & Startable & RouterInsides;
  readonly peers: GossipsubPeers;
}

/** Whoever is linked and admitted is of this mesh, so there is no other to tell it from. */
const topic = 'meshnode/1';

/** Of gossipsub's own state. */
interface RouterInsides {
  readonly status: { readonly heartbeatTimeout?: NodeJS.Timeout };
}

export class GossipsubBroadcast implements Broadcast {
  /** Of the host: `createHost({ services: { gossipsub: broadcast.service } })`. Gossipsub itself runs from `start` on. */
  readonly service: ServiceFactory = (components) => {
    this.#components = components;
    return {};
  };
  readonly #init: GossipsubBroadcastInit;
  readonly #rate = new EnvelopeRate(gossipsubLimits.envelopesAtOnce, gossipsubLimits.envelopesPerSecond);
  #components: Libp2pComponents | undefined;
  #running: Running | undefined;

  constructor(init: GossipsubBroadcastInit) {
    this.#init = init;
  }

  async start(hear: Hear): Promise<void> {
    const { gate, clock, log } = this.#init;
    const components = this.#components;
    assertInvariant(components !== undefined, 'the host has the service of its broadcast');
    const peers = new GossipsubPeers({ components, gate, clock, log });
    const { privateKey, peerId, peerStore, connectionManager, logger } = components;
    const router = gossipsub(routerOptions())({
      ...{ privateKey, peerId, peerStore, connectionManager, logger },
      registrar: peers.registrar,
    });
    assertInvariant(isRouter(router), 'gossipsub starts and stops');
    router.topicValidators.set(topic, (peer, { data }) => results[this.#judge(peer.toString(), data, hear)]);
    await router.start();
    router.subscribe(topic);
    this.#running = { router, peers };
  }

  admit(peer: PeerId): void {
    this.#running?.peers.admit(peer);
  }

  drop(peer: PeerId): void {
    this.#running?.peers.drop(peer);
  }

  publish(envelope: Uint8Array): void {
    this.#running?.router.publish(topic, envelope).catch((thrown: unknown) => {
      this.#init.log.debug({ err: thrown }, 'a broadcast was not sent');
    });
  }

  async stop(): Promise<void> {
    const running = this.#running;
    if (running === undefined) {
      return;
    }
    this.#running = undefined;
    const { router, peers } = running;
    const late = (): MeshnodeError => new MeshnodeError('shutting_down', 'A peer does not read.');
    // Its own stop() forgets this one.
    clearTimeout(router.status.heartbeatTimeout);
    peers.stop();
    try {
      await withTimeout(this.#init.clock, gossipsubLimits.stopMs, Promise.resolve(router.stop()), late);
    } catch (thrown) {
      peers.abort(asMeshnodeError(thrown));
    }
  }

  #judge(peer: PeerId, data: Uint8Array, hear: Hear): HearingVerdict {
    const { clock, log } = this.#init;
    if (data.length > trustLimits.envelopeBytes) {
      return 'reject';
    }
    if (!this.#rate.take(peer, clock.monotonicMs())) {
      this.#running?.peers.silence(peer);
      return 'ignore';
    }
    try {
      // A copy: what is kept of an envelope must not keep the whole RPC in memory.
      return hear(peer, Uint8Array.from(data));
    } catch (thrown) {
      log.error({ err: thrown, peer }, 'an envelope could not be judged');
      return 'ignore';
    }
  }
}

const results: Readonly<Record<HearingVerdict, TopicValidatorResult>> = {
  accept: TopicValidatorResult.Accept,
  ignore: TopicValidatorResult.Ignore,
  reject: TopicValidatorResult.Reject,
};

function routerOptions(): Partial<GossipsubOpts> {
  const { rpcEnvelopes, rpcMessageIds, rpcControls, streamsPerPeer, messageIdBytes } = gossipsubLimits;
  const { degree, dialledDegree, told, toldHeartbeats, unwantedBytes } = gossipsubLimits;
  return {
    globalSignaturePolicy: StrictNoSign,
    // Identical bytes are one message, whoever sends them.
    msgIdFn: ({ data }) => createHash('sha256').update(data).digest().subarray(0, messageIdBytes),
    ...{ D: degree.wanted, Dlo: degree.fewest, Dhi: degree.most, Dscore: degree.fewest, Dout: dialledDegree },
    ...{ Dlazy: told, gossipFactor: 0, mcacheGossip: toldHeartbeats, idontwantMinDataSize: unwantedBytes },
    allowedTopics: [topic],
    allowPublishToZeroTopicPeers: true,
    ignoreDuplicatePublishError: true,
    // To a few peers and not to all: what it costs does not grow with the links, and those few are as good as others,
    // being members; what they keep to themselves the next digest tells.
    floodPublish: false,
    fallbackToFloodsub: false,
    doPX: false,
    tagMeshPeers: false,
    // No score. Ten peers behind one address would silence the rest, a busy machine would be punished for being slow;
    // who sends what is false loses its link to the mesh itself.
    scoreParams: { IPColocationFactorWeight: 0, behaviourPenaltyWeight: 0, retainScore: 0 },
    maxInboundStreams: streamsPerPeer,
    maxInboundDataLength: gossipsubLimits.rpcBytes,
    maxOutboundBufferSize: gossipsubLimits.unsentBytes,
    decodeRpcLimits: {
      maxMessages: rpcEnvelopes,
      maxIwantMessageIDs: rpcEnvelopes,
      maxIhaveMessageIDs: rpcMessageIds,
      maxIdontwantMessageIDs: rpcMessageIds,
      maxSubscriptions: rpcControls,
      maxControlMessages: rpcControls,
      maxPeerInfos: 0,
    },
  };
}

function isRouter(router: GossipSub): router is Running['router'] {
  return isStartable(router) && 'status' in router;
}
