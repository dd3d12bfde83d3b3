// A placement plan as a person reads it, on a terminal of 100 columns or in a document: what is done and why, who holds
// what, how fast it will be, and who takes no part. Pure.
import { hostBytes } from '../placement/devices.ts';
import type { Estimate } from '../placement/estimate.ts';
import { type LeftOut, leftOutText } from '../placement/left-out.ts';
import type { NoPlan, PipelinePlan, Placement, Plan, SoloPlan } from '../placement/plan.ts';
import type { Split, Stage } from '../placement/split.ts';
import { formatSize } from '../util/size.ts';
import { cutText, formatMs, formatShare } from './format.ts';

const columns = 100;
/** Between columns of a table, and before each line that belongs to the one above. */
const gap = '  ';

/** Lines without their ends, none longer than 100 columns. */
export function planLines(plan: Plan): string[] {
  const { name, units, contextTokens, slots } = plan.demand;
  return [
    ...wrapped(
      `${name}: ${counted(units.length - 1, 'layer')}, ${counted(slots, 'slot')} of ${contextTokens} tokens, ${formatSize(plan.neededBytes)}`,
    ),
    ...bodyOf(plan),
    ...plan.notes.flatMap((note) => wrapped(note)),
    ...section('Left out', leftOutLines(plan.leftOut)),
  ];
}

function bodyOf(plan: Plan): string[] {
  switch (plan.mode) {
    case 'solo':
      return soloLines(plan);
    case 'pipeline':
      return pipelineLines(plan);
    case 'none':
      return noneLines(plan);
  }
}

function soloLines({ replicas, candidates, demand }: SoloPlan): string[] {
  const names = replicas.map(({ nodeName }) => nodeName).join(', ');
  const fewer = candidates.length === 0 ? '' : ` It would fit on ${candidates.length} more.`;
  return [
    ...wrapped(`Solo on ${names}: it fits there whole.${fewer}`),
    ...replicas.flatMap((placement) => placementLines(placement, hostBytes(demand))),
  ];
}

function pipelineLines({ host, isForced, largest, passedOver, demand }: PipelinePlan): string[] {
  const nodes = new Set(host.split.stages.map(({ device }) => device.peerId)).size;
  const over = `${counted(host.split.stages.length, 'device')} of ${counted(nodes, 'node')}`;
  const why = isForced
    ? 'a split was asked for, though it fits on one node'
    : `no node holds it alone; ${largest?.nodeName ?? 'none'} has most, ${formatSize(largest?.usableBytes ?? 0)}`;
  return [
    ...wrapped(`Pipeline over ${over}: ${why}.`),
    ...placementLines(host, hostBytes(demand)),
    ...section('Not the host, though before it in order', leftOutLines(passedOver)),
  ];
}

function noneLines({ cause, closest, largest, help }: NoPlan): string[] {
  const why = {
    'nobody-serves': 'No plan: no member that lives has memory to serve from.',
    'no-host': 'No plan: no node holds it alone, and none has the native engine to host a split.',
    'no-split': 'No plan: no node holds it alone, and no host reaches enough devices.',
  }[cause];
  return [
    ...wrapped(why),
    ...(largest === undefined
      ? []
      : wrapped(
          `Most usable memory of one node: ${formatSize(largest.usableBytes)} on ${largest.nodeName}.`,
        )),
    ...(closest === undefined
      ? []
      : wrapped(
          `The closest host is ${closest.nodeName}, with ${counted(closest.deviceCount, 'device')} in reach, its own included: ${leftOutText(closest.reason)}.`,
        )),
    ...section(
      'What would help',
      help.flatMap((line) => wrapped(line, gap)),
    ),
  ];
}

function placementLines({ nodeName, hasFile, split, estimate }: Placement, ramBytes: number): string[] {
  const file = hasFile ? 'has the file' : 'must get the file first';
  const isCounted = split.stages.some((stage) => stage.hostBytes > 0);
  const ram = isCounted ? 'included above' : `of ${nodeName}`;
  return [
    '',
    ...stageTable(split.stages),
    '',
    ...wrapped(`Host    ${nodeName} (${file}): ${flagsOf(split)}`, '', ' '.repeat(8)),
    ...wrapped(`RAM     ${formatSize(ramBytes)} ${ram}: token table and process`, '', ' '.repeat(8)),
    ...wrapped(`Speed   ${speedText(estimate)}`, '', ' '.repeat(8)),
  ];
}

function flagsOf({ gpuLayers, tensorSplit }: Split): string {
  const shares = tensorSplit.length > 1 ? ` --tensor-split ${tensorSplit.join(',')}` : '';
  return `-ngl ${gpuLayers}${shares}`;
}

function speedText({ tokensPerSecond, unmeasured, roundTripTokensPerSecond }: Estimate): string {
  const names = [...new Set(unmeasured.map(({ name, nodeName }) => `${name} of ${nodeName}`))].join(', ');
  const expected =
    tokensPerSecond === undefined
      ? `not known: nobody has measured the bandwidth of ${names || 'its devices'}`
      : `about ${rate(tokensPerSecond)} tokens/s for one stream`;
  const bound =
    roundTripTokensPerSecond === undefined
      ? ''
      : `; round trips alone allow ${rate(roundTripTokensPerSecond)}`;
  return `${expected}${bound}`;
}

function rate(perSecond: number): string {
  return perSecond.toFixed(perSecond < 10 ? 1 : 0);
}

function stageTable(stages: readonly Stage[]): string[] {
  const layerCount = Math.max(0, ...stages.map(({ endUnit }) => endUnit)) - 1;
  const rows = stages.map((stage) => [
    stage.device.name,
    stage.device.nodeName,
    layersText(stage, layerCount),
    formatSize(stage.weightsBytes),
    formatSize(stage.kvBytes),
    formatSize(stage.computeBytes),
    `${formatShare(stage.fill)} of ${formatSize(stage.device.usableBytes)}`,
    stage.place === 'worker' ? formatMs(stage.rttMs) : 'host',
  ]);
  return table([['DEVICE', 'NODE', 'LAYERS', 'WEIGHTS', 'KV', 'COMPUTE', 'FILLED', 'RTT'], ...rows]);
}

/** E.g. `0-20`, `43-63 + output`, `output`: layers count from 0, as llama.cpp counts them. */
function layersText({ firstUnit, endUnit }: Stage, layerCount: number): string {
  const last = Math.min(endUnit, layerCount) - 1;
  const layers = last < firstUnit ? [] : [last === firstUnit ? `${last}` : `${firstUnit}-${last}`];
  return [...layers, ...(endUnit > layerCount ? ['output'] : [])].join(' + ');
}

/** The names in the first two columns are cut to what the others leave. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widthOf = (column: number): number => Math.max(...rows.map((row) => [...(row[column] ?? '')].length));
  const widths = (rows[0] ?? []).map((_, column) => widthOf(column));
  const rest = widths.slice(2).reduce((sum, width) => sum + width, 0) + gap.length * (widths.length - 1);
  const [device = 0, node = 0] = widths;
  const room = columns - rest;
  const deviceWidth = Math.min(device, Math.max(room - node, room >> 1));
  const fitting = [deviceWidth, Math.min(node, room - deviceWidth), ...widths.slice(2)];
  return rows.map((row) =>
    row
      .map((cell, column) => padded(cutText(cell, fitting[column] ?? 0), fitting[column] ?? 0))
      .join(gap)
      .trimEnd(),
  );
}

function padded(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - [...text].length));
}

/** One line for all who are left out for the same reason. */
function leftOutLines(leftOut: readonly LeftOut[]): string[] {
  const byText = Map.groupBy(leftOut, ({ reason }) => leftOutText(reason));
  return [...byText].flatMap(([text, members]) => {
    const names = members.map(({ nodeName, device }) =>
      device === undefined ? nodeName : `${device.name} of ${nodeName}`,
    );
    return wrapped(`${names.join(', ')}: ${text}`, gap);
  });
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : ['', title, ...lines];
}

/** Words on lines of at most 100 columns; lines after the first begin with `hanging`. */
function wrapped(text: string, indent = '', hanging = `${indent}${gap}`): string[] {
  const lines: string[] = [];
  let line = indent;
  let isEmpty = true;
  for (const word of text.split(/ (?! )/)) {
    if (!isEmpty && [...line].length + 1 + [...word].length > columns) {
      lines.push(line);
      line = hanging;
      isEmpty = true;
    }
    line += isEmpty ? word : ` ${word}`;
    isEmpty = false;
  }
  return [...lines, line];
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
