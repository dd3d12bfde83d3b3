// Why a member takes no part in a plan, or was passed over as its host: one reason each, and one sentence for it.
import { formatSize } from '../util/size.ts';

export type LeftOutReason =
  | { readonly kind: 'client' }
  | { readonly kind: 'silent' }
  | { readonly kind: 'no-devices' }
  | { readonly kind: 'no-engine' }
  | { readonly kind: 'ram-too-small'; readonly usableBytes: number; readonly neededBytes: number }
  /** It cannot hold the model alone. */
  | { readonly kind: 'cannot-hold-it'; readonly usableBytes: number; readonly neededBytes: number }
  | { readonly kind: 'lends-nothing' }
  | { readonly kind: 'other-build'; readonly build: string; readonly hostBuild: string }
  | { readonly kind: 'rtt-unknown' }
  | { readonly kind: 'rtt-too-long'; readonly rttMs: number; readonly capMs: number }
  /** Not even the smallest unit fits. */
  | { readonly kind: 'too-small'; readonly usableBytes: number; readonly neededBytes: number }
  /** It could take part, but a split has room for no more devices. */
  | { readonly kind: 'too-many-devices'; readonly most: number }
  /** It could take part, but all that could hold too little together, or are cut so that no layout fits. */
  | { readonly kind: 'not-enough' }
  | { readonly kind: 'not-needed' }
  /** As a host: nobody lends it a device that holds any part. */
  | { readonly kind: 'no-workers' }
  /** As a host: it and all who lend to it hold too little. */
  | { readonly kind: 'too-little-together'; readonly usableBytes: number; readonly neededBytes: number }
  /** As a host: memory would suffice, but the model cannot be cut so that every device holds its part. */
  | { readonly kind: 'no-cut'; readonly usableBytes: number };

/** A node, or one device of a node that takes part with others. */
export interface LeftOut {
  readonly peerId: string;
  readonly nodeName: string;
  readonly device?: { readonly name: string; readonly index: number };
  readonly reason: LeftOutReason;
}

/** The reason as words that go on after a name and a colon. */
export function leftOutText(reason: LeftOutReason): string {
  switch (reason.kind) {
    case 'client':
      return 'a client lends and serves nothing';
    case 'silent':
      return 'not heard when it should have been';
    case 'no-devices':
      return 'tells of no memory that could hold a model';
    case 'no-engine':
      return 'has no native engine, so it can neither host a split nor lend';
    case 'ram-too-small':
      return `the host keeps ${formatSize(reason.neededBytes)} in RAM, and ${formatSize(reason.usableBytes)} is usable`;
    case 'cannot-hold-it':
      return `the whole model needs ${formatSize(reason.neededBytes)}, and ${formatSize(reason.usableBytes)} is usable`;
    case 'lends-nothing':
      return 'lends no devices';
    case 'other-build':
      return `lends with build ${reason.build}, and the host computes with ${reason.hostBuild}: only equal ones pair`;
    case 'rtt-unknown':
      return 'nobody has measured the way between it and the host yet';
    case 'rtt-too-long':
      return `${reason.rttMs.toFixed(reason.rttMs < 100 ? 1 : 0)} ms from the host, and each token would wait for that; at most ${reason.capMs} ms`;
    case 'too-small':
      return `the smallest part needs ${formatSize(reason.neededBytes)}, and ${formatSize(reason.usableBytes)} is usable`;
    case 'too-many-devices':
      return `a split has at most ${reason.most} devices, and others have more memory`;
    case 'not-enough':
      return 'could take part, but not enough others can';
    case 'not-needed':
      return 'not needed';
    case 'no-workers':
      return 'nobody lends it a device that holds any part';
    case 'too-little-together':
      return `it and all who lend to it have ${formatSize(reason.usableBytes)} of at least ${formatSize(reason.neededBytes)}`;
    case 'no-cut':
      return `it and all who lend to it have ${formatSize(reason.usableBytes)}, but layers are whole and no cut between them fits`;
  }
}
