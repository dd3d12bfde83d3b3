// `meshnode status`: what the running node does, and its mesh, at a glance.
import type { MeshStatus } from '../console/mesh-port.ts';
import type { ModelView, NodeStatus } from '../console/status.ts';
import { loadConfig } from '../node/config.ts';
import { formatSize } from '../util/size.ts';
import type { CommandContext } from './command-context.ts';
import { formatDuration } from './format.ts';
import { printMeshModels, stageText } from './mesh-models.ts';
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
  const { requestsInFlight, requestsOfPeers } = node;
  const forPeers = requestsOfPeers === 0 ? '' : `, ${requestsOfPeers} of them for other nodes`;
  output.line(
    `API  ${output.styled('name', node.apiUrl)}   ${requestsInFlight} requests in flight${forPeers}`,
  );
  printMesh(node, output);
  for (const device of node.hardware?.devices ?? []) {
    output.line(`${device.kind.padEnd(4)} ${device.name}: ${formatSize(device.usableBytes)} usable`);
  }
  printModels(node, output);
  printMeshModels(node.mesh, output);
  for (const hint of hintsOf(node)) {
    output.line('');
    output.line(`${output.styled('warning', '!')} ${hint}`);
  }
}

function printModels({ models, mesh }: NodeStatus, output: Output): void {
  output.line('');
  if (models.length === 0) {
    const isServed = (mesh?.models ?? []).length > 0;
    output.line(isServed ? 'No models on this node.' : 'No models. Load one: meshnode run demo');
    return;
  }
  output.table(['MODEL', 'STATE', 'ENGINE', 'CONTEXT', 'SIZE', 'BUSY', 'TOKENS/S'], models.map(modelRow));
  for (const model of models) {
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
  const memory = mesh.usableBytes === 0 ? [] : [`${formatSize(mesh.usableBytes)} usable`];
  const parts = [
    mesh.meshId.slice(0, 8),
    mesh.role,
    standing(mesh, output),
    membersText(mesh, output),
    ...memory,
  ];
  output.line(`Mesh ${parts.join('   ')}`);
  output.line(`Peer ${peerId}`);
  for (const address of mesh.addresses) {
    output.line(`     ${address}`);
  }
  if (mesh.error !== undefined) {
    output.line(output.styled('bad', mesh.error.message));
  }
}

/** E.g. `4 members alive, 1 suspect, 1 dead`; what there is none of is left out. */
function membersText({ members, suspect, dead }: MeshStatus, output: Output): string {
  const alive = members - suspect;
  return [
    `${alive} ${alive === 1 ? 'member' : 'members'} alive`,
    ...(suspect === 0 ? [] : [output.styled('warning', `${suspect} suspect`)]),
    ...(dead === 0 ? [] : [output.styled('bad', `${dead} dead`)]),
  ].join(', ');
}

/** What is wrong, and what to do. */
function hintsOf({ mesh }: NodeStatus): string[] {
  if (mesh === undefined) {
    return [];
  }
  const { suspect, dead, wanted } = mesh;
  const [first] = wanted;
  return [
    ...(suspect === 0 ? [] : [`${peersAre(suspect)} not heard: run \`meshnode doctor\`.`]),
    ...(dead === 0 ? [] : [`${peersAre(dead)} gone without leaving: run \`meshnode doctor\`.`]),
    ...(first === undefined
      ? []
      : [`'${first.model}' is asked for and served by nobody: \`meshnode doctor\` says what to do.`]),
  ];
}

function peersAre(count: number): string {
  return count === 1 ? 'A peer is' : `${count} peers are`;
}

function standing({ state }: MeshStatus, output: Output): string {
  return output.styled(state === 'member' ? 'good' : state === 'joining' ? 'warning' : 'bad', state);
}

function modelRow(model: ModelView): string[] {
  const { figures } = model;
  return [
    model.name,
    stageText(model),
    model.engine ?? '-',
    String(model.contextTokens ?? '-'),
    model.sizeBytes === undefined ? '-' : formatSize(model.sizeBytes),
    figures === undefined ? '-' : `${figures.inFlight}/${figures.slots}`,
    figures === undefined || figures.tokensPerSecond === 0 ? '-' : figures.tokensPerSecond.toFixed(1),
  ];
}
