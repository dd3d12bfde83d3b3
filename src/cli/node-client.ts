// Talks to the management API of the node that runs on this data folder, with the folder's token.
import type { WantedFile } from '../console/cluster-port.ts';
import type {
  InviteRequest,
  InviteView,
  PeerView,
  PingRequest,
  PingView,
  RevokedView,
} from '../console/mesh-port.ts';
import type { NodeStatus } from '../console/status.ts';
import { findRunningNode, type RunCard } from '../node/data-folder.ts';
import type { Cluster } from '../placement/cluster.ts';
import { MeshnodeError } from '../util/errors.ts';
import type { JsonObject } from '../util/json.ts';
import { askNode, readObject } from './node-answer.ts';

export class NodeClient {
  readonly card: RunCard;
  /** Says to both APIs of the node that we are its owner, whatever keys there are. */
  readonly token: string;

  private constructor(card: RunCard, token: string) {
    this.card = card;
    this.token = token;
  }

  /** The running node. Rejects with `node_not_running`. */
  static async find(dataDir: string): Promise<NodeClient> {
    const { card, consoleToken } = await findRunningNode(dataDir);
    return new NodeClient(card, consoleToken);
  }

  async status(signal: AbortSignal): Promise<NodeStatus> {
    // The node is of this machine and the token proved us to it; its answer is taken as it is.
    return (await this.#call({ method: 'GET', path: '/api/status' }, signal)) as unknown as NodeStatus;
  }

  /** Begins to load a model. */
  async load(reference: string, signal: AbortSignal): Promise<void> {
    await this.#call({ method: 'POST', path: '/api/models/load', body: { reference } }, signal);
  }

  /** What a plan for a model is made from. */
  async cluster({ digest, ...wanted }: WantedFile, signal: AbortSignal): Promise<Cluster> {
    const body = { ...wanted, ...(digest === undefined ? {} : { digest }) };
    const call = { method: 'POST', path: '/api/cluster', body } as const;
    return (await this.#call(call, signal)) as unknown as Cluster;
  }

  async peers(signal: AbortSignal): Promise<readonly PeerView[]> {
    const { peers } = await this.#call({ method: 'GET', path: '/api/mesh/peers' }, signal);
    return peers as unknown as PeerView[];
  }

  async invite(request: InviteRequest, signal: AbortSignal): Promise<InviteView> {
    const body = { ...request };
    return (await this.#call(
      { method: 'POST', path: '/api/mesh/invite', body },
      signal,
    )) as unknown as InviteView;
  }

  async revoke(target: string, signal: AbortSignal): Promise<RevokedView> {
    const call = { method: 'POST', path: '/api/mesh/revoke', body: { target } } as const;
    return (await this.#call(call, signal)) as unknown as RevokedView;
  }

  async ping(
    peer: string,
    count: number,
    signal: AbortSignal,
    { throughput = true }: Partial<Pick<PingRequest, 'throughput'>> = {},
  ): Promise<PingView> {
    const call = { method: 'POST', path: '/api/mesh/ping', body: { peer, count, throughput } } as const;
    return (await this.#call(call, signal)) as unknown as PingView;
  }

  /** `withKey`: even if the node holds the key of its mesh. */
  async leave(withKey: boolean, signal: AbortSignal): Promise<void> {
    await this.#call({ method: 'POST', path: '/api/mesh/leave', body: { withKey } }, signal);
  }

  async #call(
    { path, ...call }: { method: 'GET' | 'POST'; path: string; body?: JsonObject },
    signal: AbortSignal,
  ): Promise<JsonObject> {
    const { consoleUrl } = this.card;
    if (consoleUrl === undefined) {
      throw new MeshnodeError('node_not_running', 'The running node has no management API (--headless).', {
        hint: 'Start it without --headless.',
      });
    }
    const url = `${consoleUrl}${path}`;
    return readObject(await askNode({ ...call, url, token: this.token }, signal), url, signal);
  }
}

/** The node that runs on a data folder; undefined if there is none, or none that we may talk to. */
export async function runningNode(dataDir: string): Promise<NodeClient | undefined> {
  return NodeClient.find(dataDir).catch(() => undefined);
}
