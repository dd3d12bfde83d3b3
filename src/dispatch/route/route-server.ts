// Answers `/meshnode/route/1`: tells members that keep no table who serves what.
import { FrameStream } from '../../net/frame-stream.ts';
import type { Network, PeerStream } from '../../net/network.ts';
import { protocols } from '../../trust/gate.ts';
import type { Clock } from '../../util/clock.ts';
import { routeLimits as limits } from '../../util/limits/dispatch.ts';
import { RouteAnswer, RouteQuestion } from '../../wire/route-messages.ts';
import { messageOfRoutes } from './route-codec.ts';
import type { RoutedModel } from './routes.ts';

export interface RouteServerInit {
  readonly network: Pick<Network, 'handle'>;
  /** Everything that is served, as it is now. */
  readonly routes: () => readonly RoutedModel[];
  readonly clock: Clock;
}

/** Answers as long as the network does. One answer serves all who ask within routeLimits.sameAnswerMs. */
export function serveRoutes({ network, routes, clock }: RouteServerInit): void {
  let made: { readonly atMs: number; readonly bytes: Uint8Array } | undefined;
  const answer = (): Uint8Array => {
    const nowMs = clock.monotonicMs();
    if (made === undefined || nowMs - made.atMs > limits.sameAnswerMs) {
      made = { atMs: nowMs, bytes: fitting(routes()) };
    }
    return made.bytes;
  };
  const serve = async (stream: PeerStream): Promise<void> => {
    const { messageBytes, messageMs } = limits;
    const frames = new FrameStream(stream, { messageBytes, messageMs }, clock);
    while ((await frames.readMessage(RouteQuestion)) !== undefined) {
      await frames.writeBytes(answer());
    }
  };
  network.handle(protocols.route, serve, { streamsPerPeer: limits.streamsPerPeer });
}

/** As many models as fit into one message. */
function fitting(models: readonly RoutedModel[]): Uint8Array {
  for (let shown = models; ; shown = shown.slice(0, Math.floor(shown.length * 0.8))) {
    const bytes = RouteAnswer.encode(messageOfRoutes(shown)).finish();
    if (bytes.length <= limits.messageBytes) {
      return bytes;
    }
  }
}
