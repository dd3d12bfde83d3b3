// libp2p's table of stream handlers with a gate before every one of them. Not a middleware: libp2p runs a handler
// behind a middleware once more for every stream that came before.

import type { IdentifyComponents } from '@libp2p/identify';
import type { Connection, Stream, StreamHandler } from '@libp2p/interface';

export type Registrar = IdentifyComponents['registrar'];

/** Decides on one inbound stream of `protocol`. If it refuses, it has aborted the stream. */
export type Admission = (protocol: string, stream: Stream, connection: Connection) => boolean;

/** `registrar`, but what is registered through it is only called for streams that `admits`. */
export function gatedRegistrar(registrar: Registrar, admits: Admission): Registrar {
  const handle: Registrar['handle'] = (protocol, handler, options) =>
    registrar.handle(protocol, gated(protocol, handler, admits), options);
  return new Proxy(registrar, {
    get(target, property) {
      const value: unknown = property === 'handle' ? handle : Reflect.get(target, property);
      return typeof value === 'function' && property !== 'handle' ? value.bind(target) : value;
    },
  });
}

function gated(protocol: string, handler: StreamHandler, admits: Admission): StreamHandler {
  return (stream, connection) => {
    if (admits(protocol, stream, connection)) {
      return handler(stream, connection);
    }
  };
}
