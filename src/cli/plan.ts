// `meshnode plan MODEL`: where a model would run in the mesh of the running node, or on this machine if none runs: mode
// and why, who holds what, how fast, who is left out. Reads what the model says of itself; moves and changes nothing.

import { join } from 'node:path';
import { buildText } from '../engine/native/program-version.ts';
import { type InspectedModel, inspectModel } from '../models/inspect-model.ts';
import { modelDemand } from '../models/model-demand.ts';
import { describeModel } from '../models/model-info.ts';
import { MeasuredBandwidth } from '../node/bandwidth.ts';
import { loneCluster } from '../node/cluster.ts';
import { loadConfig } from '../node/config.ts';
import type { NodeConfig } from '../node/config-schema.ts';
import { inspectHardware } from '../node/inspect-hardware.ts';
import { demoFolder, openModelStore } from '../node/machine-parts.ts';
import { NativeEngine } from '../node/native-engine.ts';
import type { Cluster } from '../placement/cluster.ts';
import { type LeftOut, leftOutText } from '../placement/left-out.ts';
import { planPlacement } from '../placement/placement.ts';
import type { Placement, Plan } from '../placement/plan.ts';
import { MeshnodeError } from '../util/errors.ts';
import { engineLimits } from '../util/limits/engine.ts';
import { placementLimits } from '../util/limits/placement.ts';
import { createLogger } from '../util/logging.ts';
import { type CommandContext, requiredArgument } from './command-context.ts';
import { runningNode } from './node-client.ts';
import { planLines } from './plan-text.ts';

export async function plan(context: CommandContext): Promise<number> {
  const { options, environment, output, interrupted } = context;
  const { config, paths } = await loadConfig(options.flags(), environment);
  const replicas = options.number('replicas') ?? 1;
  if (!Number.isInteger(replicas) || replicas < 1 || replicas > placementLimits.replicas) {
    throw new MeshnodeError('usage', `--replicas takes a number from 1 to ${placementLimits.replicas}.`);
  }
  const log = createLogger(config.logLevel, output.streams.stderr, { pretty: true });
  const { hub } = await openModelStore(paths.dataDir, { ...context, log });
  const model = await inspectModel(requiredArgument(context, 0), { hub, demoFolder }, interrupted);
  const info = describeModel(model.files);
  const demand = modelDemand(model.files, {
    name: model.name,
    ...(model.hubSha256 === undefined ? {} : { digest: model.hubSha256 }),
    contextTokens: config.ctx ?? Math.min(info.contextTokens ?? Infinity, engineLimits.defaultContext),
    parallel: config.parallel ?? 1,
  });
  const cluster = await clusterFor(model, context, { config, dataDir: paths.dataDir });
  const found = planPlacement(demand, cluster, { splitForced: options.has('split'), replicas });
  if (output.json) {
    output.value(planValue(found));
  } else {
    for (const line of planLines(found)) {
      output.line(line);
    }
  }
  return found.mode === 'none' ? 1 : 0;
}

/** The mesh of the running node, or this machine. */
async function clusterFor(
  model: InspectedModel,
  context: CommandContext,
  { config, dataDir }: { config: NodeConfig; dataDir: string },
): Promise<Cluster> {
  const { environment, output, interrupted } = context;
  const wanted = {
    name: model.name,
    digest: model.hubSha256,
    sizeBytes: model.files.sizeBytes,
    isHere: model.isHere,
  };
  const node = await runningNode(dataDir);
  if (node !== undefined) {
    return node.cluster(wanted, interrupted);
  }
  output.say('No node runs here: this is the plan for this machine alone.');
  const log = createLogger('silent', output.streams.stderr, { pretty: false });
  const [hardware, { programs }] = await Promise.all([
    inspectHardware({ ...context, log }, config, interrupted),
    new NativeEngine(config, environment).search(interrupted),
  ]);
  const rpcBuild = programs?.rpcServer === undefined ? undefined : buildText(programs.build);
  const name = config.name ?? 'this machine';
  const bandwidth = new MeasuredBandwidth(join(dataDir, 'bandwidth.json'), log);
  await bandwidth.recall(hardware);
  return loneCluster(
    { name, peerId: '', rpcBuild, bandwidthBytes: bandwidth.bytesPerSecond },
    hardware,
    wanted,
  );
}

/** The contract of `--json`: fields are added, never renamed. */
function planValue(plan: Plan) {
  const { mode, demand, neededBytes, leftOut, notes } = plan;
  const shared = {
    mode,
    model: demand.name,
    digest: demand.digest ?? null,
    layers: demand.units.length - 1,
    contextTokens: demand.contextTokens,
    slots: demand.slots,
    neededBytes,
  };
  const rest = { leftOut: leftOut.map(leftOutValue), notes };
  switch (plan.mode) {
    case 'solo':
      return {
        ...shared,
        replicas: plan.replicas.map(placementValue),
        candidates: plan.candidates.map(({ peerId, nodeName }) => ({ peerId, name: nodeName })),
        ...rest,
      };
    case 'pipeline':
      return {
        ...shared,
        forced: plan.isForced,
        host: placementValue(plan.host),
        passedOver: plan.passedOver.map(leftOutValue),
        ...rest,
      };
    case 'none':
      return { ...shared, cause: plan.cause, help: plan.help, ...rest };
  }
}

function placementValue({ peerId, nodeName, hasFile, split, estimate }: Placement) {
  return {
    ...{ peerId, name: nodeName, hasFile },
    gpuLayers: split.gpuLayers,
    tensorSplit: split.tensorSplit,
    stages: split.stages.map((stage) => ({
      peerId: stage.device.peerId,
      node: stage.device.nodeName,
      device: stage.device.name,
      place: stage.place,
      firstLayer: stage.firstUnit,
      // One behind the last; the output counts as one.
      endLayer: stage.endUnit,
      weightsBytes: stage.weightsBytes,
      kvBytes: stage.kvBytes,
      computeBytes: stage.computeBytes,
      usableBytes: stage.device.usableBytes,
      rttMs: stage.rttMs,
    })),
    tokensPerSecond: estimate.tokensPerSecond ?? null,
    roundTripTokensPerSecond: estimate.roundTripTokensPerSecond ?? null,
  };
}

function leftOutValue({ peerId, nodeName, device, reason }: LeftOut) {
  return {
    ...{ peerId, name: nodeName },
    ...(device === undefined ? {} : { device: device.name }),
    reason: reason.kind,
    words: leftOutText(reason),
  };
}
