// What the planner knows of a mesh: its nodes, their devices, and how far they are from each other. Plain data, put
// together by whoever asks for a plan; nothing here is measured.

export interface Cluster {
  readonly nodes: readonly ClusterNode[];
  readonly links: readonly ClusterLink[];
}

export interface ClusterNode {
  readonly peerId: string;
  /** For people; need not be unique. */
  readonly name: string;
  readonly role: 'client' | 'serve' | 'admin';
  /** Not heard when it should have been, in the opinion of the node that plans. */
  readonly isSilent: boolean;
  /** It has the files of the model, by digest. */
  readonly hasFile: boolean;
  /** It has the native engine, which alone can compute with others' devices. */
  readonly canHost: boolean;
  /** Build of its own llama-server. */
  readonly rpcBuild: string | undefined;
  /** Build of the RPC worker that lends its devices to this host; undefined: it lends none. */
  readonly lends: string | undefined;
  /** Whether its owner allows layers in RAM beside a GPU (`--cpu-offload`). */
  readonly cpuOffload: boolean;
  /** GPUs in the order of their drivers, and the CPU. */
  readonly devices: readonly ClusterDevice[];
}

export interface ClusterDevice {
  readonly name: string;
  /** `cpu`, `cuda`, `metal`, `rocm`, `vulkan`, or what a later version knows. */
  readonly kind: string;
  /** What may be planned with: the headroom is taken off already. */
  readonly usableBytes: number;
  /** Measured memory bandwidth, bytes a second; undefined: not measured. */
  readonly bandwidthBytes?: number | undefined;
}

/** The median round trip that `from` measured to `to`. */
export interface ClusterLink {
  readonly from: string;
  readonly to: string;
  readonly rttMs: number;
}

/** Round trips by pair of peers. If both ends tell, the larger counts: whoever errs, no worker seems nearer than it is. */
export class RoundTrips {
  readonly #byPeer = new Map<string, Map<string, number>>();

  constructor(links: readonly ClusterLink[]) {
    for (const { from, to, rttMs } of links) {
      if (Number.isFinite(rttMs) && rttMs >= 0) {
        this.#note(from, to, rttMs);
        this.#note(to, from, rttMs);
      }
    }
  }

  /** Milliseconds; undefined if nobody measured it. */
  between(one: string, other: string): number | undefined {
    return this.#byPeer.get(one)?.get(other);
  }

  #note(from: string, to: string, rttMs: number): void {
    const known = this.#byPeer.get(from) ?? new Map<string, number>();
    known.set(to, Math.max(rttMs, known.get(to) ?? 0));
    this.#byPeer.set(from, known);
  }
}

/** Negative if `one` comes before `other`. By code unit, so that every node sorts alike. */
export function comparePeerIds(one: { readonly peerId: string }, other: { readonly peerId: string }): number {
  return one.peerId < other.peerId ? -1 : Number(one.peerId > other.peerId);
}
