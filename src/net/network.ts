// What the rest of the node knows of the network: peers by id, links to them, and streams that end with a
// word. The libp2p host and the in-process network of tests both are one; nobody above sees libp2p.

import type { ProtocolId } from '../trust/gate.ts';
import type { PeerId } from '../trust/keys.ts';

/** One stream to a peer. Bytes go both ways with bounded memory; reading and writing are one caller's each. */
export interface PeerStream {
  readonly peer: PeerId;
  readonly protocol: ProtocolId;
  /** Id of the link that it goes over. */
  readonly link: string;
  /**
   * The next bytes, or undefined once the other side has said its end. While nobody reads, the other side is
   * held back. Rejects with `stream_broken` if the stream was aborted or its connection lost, never with an end.
   */
  read(signal?: AbortSignal): Promise<Uint8Array | undefined>;
  /** Resolves once the transport can take more. Rejects with `stream_broken` if the stream is no more. */
  write(bytes: Uint8Array, signal?: AbortSignal): Promise<void>;
  /** Says that no more will be written, after all that was. The other side may go on. */
  end(signal?: AbortSignal): Promise<void>;
  /** Gives the stream up in both directions; the other side sees an error. Idempotent. */
  abort(cause: Error): void;
  /** Settles when nothing more can come or go, however it ended. Never rejects. */
  readonly closed: Promise<void>;
}

export type PathKind = 'quic' | 'tcp' | 'memory';

/** One connection to a peer whose key the transport has proved. */
export interface Link {
  readonly id: string;
  readonly peer: PeerId;
  readonly path: PathKind;
  /** Who dialled. */
  readonly direction: 'inbound' | 'outbound';
  /** Where the other side is, as a multiaddr without its peer id. */
  readonly remoteAddress: string;
  readonly openedMs: number;
}

export interface LinkEvent {
  readonly type: 'opened' | 'closed';
  readonly link: Link;
  /** Links to the same peer that remain. 0 after 'closed': the peer is out of reach. */
  readonly remaining: number;
}

/** Serves one inbound stream. When it settles the stream is ended; if it rejects the stream is aborted. */
export type StreamHandler = (stream: PeerStream) => Promise<void>;

export interface HandlerOptions {
  /** Inbound streams of this protocol from one peer at once; more are aborted. */
  readonly streamsPerPeer: number;
}

export interface OpenOptions {
  readonly signal?: AbortSignal;
  /** The path to take, if there is a link of it; absent: what the path policy prefers. */
  readonly path?: PathKind;
  /** Id of the one link to take. */
  readonly link?: string;
}

export interface Network {
  readonly peerId: PeerId;
  /** Where this node can be dialled, as multiaddrs without a peer id, best first. */
  addresses(): readonly string[];
  links(): readonly Link[];
  /** Hears of links; the returned function ends that. */
  onLink(listener: (event: LinkEvent) => void): () => void;
  /** Serves a protocol. Every stream passes the gate before its handler sees it. */
  handle(protocol: ProtocolId, handler: StreamHandler, options: HandlerOptions): void;
  /**
   * Connects to a peer at one of `addresses`, tried side by side within bounds; does nothing if it is linked.
   * Rejects with `peer_unreachable` (`data.attempts`: address and reason each) or `peer_key_mismatch` if whoever
   * answered everywhere holds another key.
   */
  dial(peer: PeerId, addresses: readonly string[], signal?: AbortSignal): Promise<void>;
  /** A stream to a linked peer. Rejects with `peer_unreachable`, `protocol_refused` (also by our own gate), `stream_broken`. */
  open(peer: PeerId, protocol: ProtocolId, options?: OpenOptions): Promise<PeerStream>;
  /** Closes every link to a peer, with all streams. */
  disconnect(peer: PeerId): Promise<void>;
  /** One round trip on the preferred path, milliseconds. */
  ping(peer: PeerId, options?: OpenOptions): Promise<number>;
  /** Closes all links and listeners; afterwards nothing of the network keeps the process alive. */
  close(): Promise<void>;
}

/** Decides whether a peer may open a protocol, and whether we may towards it. Asked for every stream. */
export type Gate = (peer: PeerId, protocol: string) => boolean;
