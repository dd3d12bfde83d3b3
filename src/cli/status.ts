// `meshnode status`: what the running node does, at a glance.
import type { MeshStatus } from '../console/mesh-port.ts';
import type { ModelView, NodeStatus } from '../console/status.ts';
import { loadConfig } from '../node/config.ts';
import { formatSize } from '../util/size.ts';
import type { CommandContext } from './command-context.ts';
import { formatDuration, formatShare } from './format.ts';
import { NodeClient } from './node-client.ts';
import type { Output } from './output.ts';

export async function status({ options, environment, output, interrupted }: CommandContext): Promise<number> {
  const { paths } = await loadConfig(options.flags(), environment);
  const client = await NodeClient.find(paths.dataDir);
  const answer = await client.status(interrupted);
  if (output.json) {
    output.value(answer);
  } else {
    print(answer, output);
  }
  return 0;
}

function print(node: NodeStatus, output: Output): void {
  const state = node.ready ? output.styled('good', 'ready') : output.styled('warning', 'getting ready');
  output.line(
    `${output.styled('strong', node.name)} · meshnode ${node.version} · ${state} · up ${formatDuration(node.uptimeSeconds)} · process ${node.pid}, ${formatSize(node.residentBytes)}`,
  );
  output.line(`API  ${output.styled('name', node.apiUrl)}   ${node.requestsInFlight} requests in flight`);
  printMesh(node, output);
  for (const device of node.hardware?.devices ?? []) {
    output.line(`${device.kind.padEnd(4)} ${device.name}: ${formatSize(device.usableBytes)} usable`);
  }
  output.line('');
  if (node.models.length === 0) {
    output.line('No models. Load one: meshnode run demo');
    return;
  }
  output.table(
    ['MODEL', 'STATE', 'ENGINE', 'CONTEXT', 'SIZE', 'BUSY', 'TOKENS/S'],
    node.models.map(modelRow),
  );
  for (const model of node.models) {
    if (model.error !== undefined) {
      output.line(output.styled('bad', `${model.name}: ${model.error.message}`));
      output.line(`  ${model.error.hint}`);
    }
  }
}

function printMesh({ peerId, mesh }: NodeStatus, output: Output): void {
  if (mesh === undefined) {
    output.line('Mesh none: the node serves by itself');
    return;
  }
  const members = `${mesh.members} ${mesh.members === 1 ? 'member' : 'members'}`;
  output.line(`Mesh ${mesh.meshId.slice(0, 8)}   ${mesh.role}   ${standing(mesh, output)}   ${members}`);
  output.line(`Peer ${peerId}`);
  for (const address of mesh.addresses) {
    output.line(`     ${address}`);
  }
  if (mesh.error !== undefined) {
    output.line(output.styled('bad', mesh.error.message));
  }
}

function standing({ state }: MeshStatus, output: Output): string {
  return output.styled(state === 'member' ? 'good' : state === 'joining' ? 'warning' : 'bad', state);
}

function modelRow(model: ModelView): string[] {
  const { figures } = model;
  return [
    model.name,
    model.fraction === undefined || model.stage === 'ready'
      ? model.stage
      : `${model.stage} ${formatShare(model.fraction)}`,
    model.engine ?? '-',
    String(model.contextTokens ?? '-'),
    model.sizeBytes === undefined ? '-' : formatSize(model.sizeBytes),
    figures === undefined ? '-' : `${figures.inFlight}/${figures.slots}`,
    figures === undefined || figures.tokensPerSecond === 0 ? '-' : figures.tokensPerSecond.toFixed(1),
  ];
}
