// What the simulator's model of gossipsub says of a measured run: the same members, envelopes and times, over links
// that are as slow.
import { BroadcastModel, gossipsubParameters } from '../../test/sim/broadcast-model.ts';
import { randomStream } from '../../test/sim/random-streams.ts';
import { VirtualClock } from '../../test/sim/virtual-clock.ts';
import { calmNetwork, type NetworkProcess, VirtualNetwork } from '../../test/sim/virtual-network.ts';

/** An envelope that somebody said. */
export interface Publication {
  readonly author: string;
  readonly sizeBytes: number;
  /** Since the beginning of the measurement. */
  readonly atMs: number;
}

export interface Prediction {
  /** Bytes sent, all members together. */
  readonly bytes: number;
  /** Milliseconds from each publication to each other member. */
  readonly delaysMs: readonly number[];
}

/** Before the first publication: links and meshes are made. */
const warmUpMs = 60_000;
/** After the last one, for what is told of it. */
const afterMs = 10_000;

export function predict(members: readonly string[], publications: readonly Publication[]): Prediction {
  const clock = new VirtualClock();
  const network = new VirtualNetwork(clock, randomStream(1, 'network'), calmNetwork);
  const model = new BroadcastModel(clock, randomStream(1, 'broadcast'), network, gossipsubParameters);
  const sentMs = new Map<string, number>();
  const delaysMs: number[] = [];
  for (const peer of members) {
    const process = silentProcess(peer);
    network.attach(process);
    model.join({
      process,
      hear: (envelope) => {
        delaysMs.push(clock.nowMs - (sentMs.get(keyOf(envelope)) ?? Number.NaN));
        return 'accept';
      },
    });
    for (const other of members.slice(0, members.indexOf(peer))) {
      network.dial(process, other, [other]);
    }
  }
  for (const [index, { author, sizeBytes, atMs }] of publications.entries()) {
    const envelope = numbered(index, sizeBytes);
    clock.at(warmUpMs + atMs, () => {
      sentMs.set(keyOf(envelope), clock.nowMs);
      model.publish(author, envelope);
    });
  }
  const last = Math.max(0, ...publications.map(({ atMs }) => atMs));
  clock.runUntil(warmUpMs + last + afterMs);
  return { bytes: members.reduce((sum, peer) => sum + model.sent(peer).bytes, 0), delaysMs };
}

function silentProcess(peer: string): NetworkProcess {
  return {
    peer,
    address: peer,
    linked: () => {},
    unlinked: () => {},
    dialFailed: () => {},
    received: () => {},
  };
}

/** An envelope that is like no other: the model tells them apart by their last 64 bytes. */
function numbered(index: number, sizeBytes: number): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  new DataView(bytes.buffer).setUint32(sizeBytes - 4, index);
  return bytes;
}

function keyOf(envelope: Uint8Array): string {
  return Buffer.from(envelope.subarray(-4)).toString('hex');
}
