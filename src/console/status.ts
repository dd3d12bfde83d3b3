// What the management API says of a node and its models: the shapes that the command line and the web page
// read. Fields are added, never renamed.

import type { QueueFigures } from '../dispatch/model-queue.ts';
import type { LoadFigures } from '../engine/engine.ts';
import type { Hardware } from '../engine/hardware/device.ts';
import type { ModelStatus } from '../serving/model-status.ts';
import type { MeshStatus } from './mesh-port.ts';

export interface NodeStatus {
  readonly name: string;
  readonly peerId: string;
  readonly version: string;
  readonly pid: number;
  readonly uptimeSeconds: number;
  readonly apiUrl: string;
  readonly ready: boolean;
  readonly requestsInFlight: number;
  /** Those of them that other nodes sent. */
  readonly requestsOfPeers: number;
  readonly residentBytes: number;
  /** Absent until it was looked at. */
  readonly hardware?: Hardware;
  /** Absent while the node takes part in no mesh. */
  readonly mesh?: MeshStatus;
  readonly models: readonly ModelView[];
}

export interface ModelView {
  readonly name: string;
  readonly reference: string;
  /** Other references that were asked for and turned out to mean this model. */
  readonly aliases: readonly string[];
  readonly stage: ModelStatus['stage'];
  readonly fraction?: number;
  readonly etaSeconds?: number;
  readonly error?: { readonly code: string; readonly message: string; readonly hint: string };
  readonly engine?: string;
  readonly contextTokens?: number;
  readonly digest?: string;
  readonly sizeBytes?: number;
  /** ISO 8601. */
  readonly createdAt: string;
  /** Absent unless loaded. */
  readonly figures?: LoadFigures;
  /** Absent before the first request. */
  readonly queue?: QueueFigures;
}

/** A model as the management API shows it. */
export function modelView(
  status: ModelStatus,
  aliases: readonly string[],
  figures?: LoadFigures,
  queue?: QueueFigures,
): ModelView {
  const { capabilities, error, createdMs, ...shown } = status;
  const contextTokens = capabilities?.contextTokens;
  return {
    ...shown,
    aliases,
    createdAt: new Date(createdMs).toISOString(),
    ...(error === undefined ? {} : { error: { code: error.code, message: error.message, hint: error.hint } }),
    ...(contextTokens === undefined ? {} : { contextTokens }),
    ...(figures === undefined ? {} : { figures }),
    ...(queue === undefined ? {} : { queue }),
  };
}
