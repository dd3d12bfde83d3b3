// This node as QUIC sees it: its key and its limits, from which servers and clients are made. Loads the native
// library when first asked, never before.
import { privateKeyToProtobuf } from '@libp2p/crypto/keys';
import type { PrivateKey } from '@libp2p/interface';
import { quicLimits } from '../../util/limits/net.ts';
import { loadNativeQuic, type NativeClient, type NativeConfig, type NativeServer } from './native.ts';

export class QuicEndpoint {
  readonly #privateKey: PrivateKey;
  readonly #maxInboundStreams: number;
  #config: NativeConfig | undefined;

  constructor(privateKey: PrivateKey, maxInboundStreams: number) {
    this.#privateKey = privateKey;
    this.#maxInboundStreams = maxInboundStreams;
  }

  /** Binds a UDP socket and serves handshakes on it. Rejects with `quic_unavailable`, or with what the system says. */
  async server(host: string, port: number): Promise<NativeServer> {
    const native = await loadNativeQuic();
    this.#config ??= new native.QuinnConfig(this.#settings());
    return new native.Server(this.#config, host, port);
  }

  /** A socket to dial from. Rejects as `server` does. */
  async client(family: 4 | 6): Promise<NativeClient> {
    const native = await loadNativeQuic();
    this.#config ??= new native.QuinnConfig(this.#settings());
    return new native.Client(this.#config, family === 4 ? 0 : 1);
  }

  #settings() {
    return {
      privateKeyProto: privateKeyToProtobuf(this.#privateKey),
      handshakeTimeout: quicLimits.idleMs,
      maxIdleTimeout: quicLimits.idleMs,
      keepAliveInterval: quicLimits.keepAliveMs,
      maxConcurrentStreamLimit: this.#maxInboundStreams,
      maxStreamData: quicLimits.streamWindowBytes,
      maxConnectionData: quicLimits.connectionWindowBytes,
      receiveBufferSize: quicLimits.socketBufferBytes,
      sendBufferSize: quicLimits.socketBufferBytes,
    };
  }
}
