// The models of a whole mesh as a table, for `meshnode status` and `meshnode models`.
import type { MeshModelView, MeshStatus } from '../console/mesh-port.ts';
import type { ModelView } from '../console/status.ts';
import { formatSize } from '../util/size.ts';
import { cutText, formatShare } from './format.ts';
import type { Output } from './output.ts';

/** Rows of the table: the rest is for `--json`, so that all fits on a screen. */
const shownModels = 20;
const nameWidth = 40;

/** With an empty line before it; nothing if the node is alone: its own models are shown anyway. */
export function printMeshModels(mesh: MeshStatus | undefined, output: Output): void {
  const models = mesh?.models ?? [];
  if (models.length === 0 || mesh?.members === 1) {
    return;
  }
  output.line('');
  output.table(
    ['IN THE MESH', 'STATE', 'REPLICAS', 'KIND', 'CONTEXT', 'SIZE'],
    models.slice(0, shownModels).map(row),
  );
  if (models.length > shownModels) {
    output.line(`and ${models.length - shownModels} more: meshnode status --json`);
  }
}

function row({ name, replicas, kinds, contextTokens, sizeBytes, ...model }: MeshModelView): string[] {
  return [
    cutText(name, nameWidth),
    stageText(model),
    String(replicas),
    kinds[0] ?? '-',
    String(contextTokens ?? '-'),
    sizeBytes === undefined ? '-' : formatSize(sizeBytes),
  ];
}

/** How far a model is. */
export function stageText({ stage, fraction }: Pick<ModelView, 'stage' | 'fraction'>): string {
  return fraction === undefined || stage === 'ready' ? stage : `${stage} ${formatShare(fraction)}`;
}
