// The native classes inside @chainsafe/libp2p-quic, typed as far as we use them, and how they are loaded.
// That package's own JavaScript is never run, except for the file that finds the binary of this platform.
import { MeshnodeError } from '../../util/errors.ts';

/**
 * One QUIC stream. Reading and writing each take a lock: `stopRead` waits for a pending `read`,
 * `finishWrite` and `resetWrite` wait for a pending `write`.
 */
export interface NativeStream {
  id(): string;
  /** At most `maxBytes` bytes; null at the peer's end. Rejects once if the peer reset the stream; do not read on. */
  read(maxBytes: number): Promise<Uint8Array | null>;
  /** Resolves once QUIC has taken all bytes, which the peer's windows bound. */
  write(bytes: Uint8Array): Promise<void>;
  finishWrite(): Promise<void>;
  resetWrite(): Promise<void>;
  stopRead(): Promise<void>;
}

export interface NativeConnection {
  /** Rejects with the reason once the connection is closed. */
  inboundStream(): Promise<NativeStream>;
  /** Waits while the peer's limit of streams is reached. Rejects with the reason once the connection is closed. */
  outboundStream(): Promise<NativeStream>;
  /** Closes at once and drops what has not been sent. */
  abort(): void;
  /** Resolves when the connection is closed, by whomever. */
  closed(): Promise<void>;
  /** Where the peer is, with `/p2p/` and the id its TLS certificate proves. */
  remoteMultiaddr(): string;
  /** Round trip, milliseconds. */
  rtt(): number;
  /** `frameTxStream`: frames with stream data sent so far. */
  stats(): { readonly frameTxStream: number };
}

export interface NativeServer {
  port(): number;
  /** Accepts one connection and resolves after its handshake. */
  inboundConnection(): Promise<NativeConnection>;
  /** Closes all connections, then the socket. */
  abort(): Promise<void>;
}

export interface NativeClient {
  outboundConnection(host: string, port: number): Promise<NativeConnection>;
  /** Closes all connections and the socket. */
  abort(): void;
}

/** Settings in their native form: opaque. */
export type NativeConfig = object;

export interface NativeSettings {
  readonly privateKeyProto: Uint8Array;
  readonly handshakeTimeout: number;
  readonly maxIdleTimeout: number;
  readonly keepAliveInterval: number;
  readonly maxConcurrentStreamLimit: number;
  readonly maxStreamData: number;
  readonly maxConnectionData: number;
  readonly receiveBufferSize: number;
  readonly sendBufferSize: number;
}

export interface NativeQuic {
  readonly QuinnConfig: new (settings: NativeSettings) => NativeConfig;
  readonly Server: new (config: NativeConfig, host: string, port: number) => NativeServer;
  /** `family`: 0 is IPv4, 1 is IPv6. */
  readonly Client: new (
    config: NativeConfig,
    family: 0 | 1,
  ) => NativeClient;
}

let loading: Promise<NativeQuic> | undefined;

/** Loads the native classes, once. Rejects with `quic_unavailable` where no binary fits this platform. */
export function loadNativeQuic(): Promise<NativeQuic> {
  loading ??= load();
  return loading;
}

async function load(): Promise<NativeQuic> {
  try {
    // The package exports its main file only; the loader of the binary lies beside it.
    const loader = new URL('napi.js', import.meta.resolve('@chainsafe/libp2p-quic'));
    return (await import(loader.href)) as NativeQuic;
  } catch (cause) {
    throw new MeshnodeError(
      'quic_unavailable',
      `There is no QUIC library for ${process.platform} on ${process.arch}.`,
      { cause },
    );
  }
}
