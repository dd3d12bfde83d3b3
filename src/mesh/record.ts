// What a node says of itself to its mesh, as plain values. Which of two records is newer is version.ts's, whether
// a certificate stands is judged by trust/.
import type { PeerId } from '../trust/keys.ts';
import type { Role } from '../trust/roles.ts';
import type { RecordVersion } from './version.ts';

/** What a node knows of itself: the part of its record that the rest of the node hands in. */
export interface LocalFacts {
  /** For people; need not be unique. */
  readonly name: string;
  readonly version: string;
  /** What this version can do beyond the first, by name. */
  readonly features: readonly string[];
  /** Where the node can be dialled: multiaddrs without `/p2p`, best first. */
  readonly addresses: readonly string[];
  readonly devices: readonly Device[];
  /** What can be asked for here; no name twice. */
  readonly models: readonly RecordModel[];
  /** What this node's own users asked for. */
  readonly demand: readonly Demand[];
  /** What this node answered for others: the check on their demand. */
  readonly served: readonly Served[];
  readonly neighbours: readonly Neighbour[];
  readonly labels: readonly Label[];
  /** Build of llama.cpp's server and RPC worker here, which host splits and lend devices; undefined: neither. */
  readonly rpcBuild: string | undefined;
}

export interface PeerRecord extends LocalFacts, RecordVersion {
  /** Who signed it. */
  readonly peerId: PeerId;
  /** Unix time in milliseconds by the signer's clock, as `expiresMs`. */
  readonly issuedMs: number;
  readonly expiresMs: number;
  /** Encoded Certificate of the signer; not yet verified. */
  readonly certificate: Uint8Array;
  /** The node has left the mesh. All its facts are empty then; its role is not. */
  readonly left: boolean;
  readonly role: Role;
}

export interface Device {
  readonly name: string;
  /** `cpu`, `cuda`, `metal`, `rocm`, `vulkan`, or what a later version knows. */
  readonly kind: string;
  readonly totalBytes: number;
  readonly usableBytes: number;
  /** Measured memory bandwidth, bytes a second; undefined: not measured. */
  readonly bandwidthBytes: number | undefined;
}

export const modelStates = ['loading', 'ready'] as const;

export type RecordModelState = (typeof modelStates)[number];

/** A model in a record. Undefined is what the node does not know or this version cannot read. */
export interface RecordModel {
  readonly name: string;
  /** SHA-256 of the GGUF files in order, 64 lower-case hex digits; undefined: pending or attached. */
  readonly digest: string | undefined;
  /** Another server of the owner runs it. */
  readonly attached: boolean;
  /** Only a `ready` model can be asked. */
  readonly state: RecordModelState | undefined;
  /** `chat`, `embedding`, `rerank`, or what a later version knows. */
  readonly kind: string | undefined;
  readonly sizeBytes: number | undefined;
  readonly contextTokens: number | undefined;
  readonly slots: number | undefined;
  readonly architecture: string | undefined;
  readonly quantisation: string | undefined;
  /** Kinds of request that it answers and features of its engine, or what a later version knows; no word twice. */
  readonly abilities: readonly string[];
}

/** Decayed number of requests for a model, as of the record's `issuedMs`. Of the precision of a float32. */
export interface Demand {
  readonly model: string;
  readonly requests: number;
}

export interface Served extends Demand {
  /** The node that asked. */
  readonly origin: PeerId;
}

/** Round trips to another node, milliseconds. Of the precision of a float32. */
export interface Neighbour {
  readonly peerId: PeerId;
  readonly rttP50Ms: number;
  readonly rttP95Ms: number;
}

export interface Label {
  readonly name: string;
  readonly value: string;
}

/** What a node says that has nothing to say, or has left. */
export const noFacts: LocalFacts = {
  name: '',
  version: '',
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
