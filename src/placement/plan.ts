// What a plan says. Types only: the same for whoever shows it and whoever acts on it.
import type { ModelDemand } from '../models/model-demand.ts';
import type { Estimate } from './estimate.ts';
import type { LeftOut, LeftOutReason } from './left-out.ts';
import type { Split } from './split.ts';

export type Plan = SoloPlan | PipelinePlan | NoPlan;

interface PlanBase {
  readonly demand: ModelDemand;
  /** Bytes of the whole model on one device. */
  readonly neededBytes: number;
  /** Everybody who takes no part, by peer id. */
  readonly leftOut: readonly LeftOut[];
  /** Whole sentences, for a person. */
  readonly notes: readonly string[];
}

/** The model whole on a node, or on several, each for itself. */
export interface SoloPlan extends PlanBase {
  readonly mode: 'solo';
  /** As many as were asked for, or as there are; the first is the best. */
  readonly replicas: readonly Placement[];
  /** Others that hold it whole, best first. */
  readonly candidates: readonly Placement[];
}

/** Cut over the devices of several nodes. */
export interface PipelinePlan extends PlanBase {
  readonly mode: 'pipeline';
  /** Whether it was asked for rather than needed. */
  readonly isForced: boolean;
  readonly host: Placement;
  /** Members that come before the host in the order of election, and why they are not it. */
  readonly passedOver: readonly LeftOut[];
  /** The node with most memory, which is too small alone. */
  readonly largest: LargestNode | undefined;
}

export interface NoPlan extends PlanBase {
  readonly mode: 'none';
  /** `nobody-serves`: no member that lives has memory; `no-host`: none of them has the native engine. */
  readonly cause: 'nobody-serves' | 'no-host' | 'no-split';
  readonly largest: LargestNode | undefined;
  /** The host that would hold most with its workers, and why it is not enough. */
  readonly closest: ClosestHost | undefined;
  /** What would help, whole sentences. */
  readonly help: readonly string[];
}

/** The model at a node that answers for it. */
export interface Placement {
  readonly peerId: string;
  readonly nodeName: string;
  readonly hasFile: boolean;
  readonly split: Split;
  readonly estimate: Estimate;
}

export interface LargestNode {
  readonly nodeName: string;
  readonly usableBytes: number;
}

export interface ClosestHost {
  readonly nodeName: string;
  readonly reason: LeftOutReason;
  /** Its own devices and those lent to it, as many as a split takes. */
  readonly usableBytes: number;
  readonly deviceCount: number;
}
