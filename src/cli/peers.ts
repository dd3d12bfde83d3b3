// `meshnode peers`: the other members of the mesh, as the running node sees them.
import type { PeerView } from '../console/mesh-port.ts';
import { loadConfig } from '../node/config.ts';
import type { CommandContext } from './command-context.ts';
import { cutText, formatMs, shortPeerId } from './format.ts';
import { NodeClient } from './node-client.ts';

export async function peers({ options, environment, output, interrupted }: CommandContext): Promise<number> {
  const { paths } = await loadConfig(options.flags(), environment);
  const client = await NodeClient.find(paths.dataDir);
  const views = await client.peers(interrupted);
  if (output.json) {
    for (const view of views) {
      output.value(view);
    }
    return 0;
  }
  if (views.length === 0) {
    output.say('There is no other node in this mesh yet. Invite one: meshnode invite');
    return 0;
  }
  const { header, rows } = options.has('wide')
    ? wideTable(views)
    : narrowTable(views, output.streams.stdout.columns ?? usualColumns);
  output.table(header, rows);
  if (views.some(({ state }) => state === 'suspect' || state === 'dead')) {
    output.say('What became of those that are not joined, and what to do: meshnode doctor');
  }
  return 0;
}

interface Table {
  readonly header: readonly string[];
  readonly rows: ReadonlyArray<readonly string[]>;
}

const header = ['NAME', 'PEER', 'ROLE', 'STATE', 'PATH', 'RTT', 'LOAD', 'MODELS', 'VERSION'];

/** Width of a table that goes to no terminal. */
const usualColumns = 100;

/** Most characters of the columns that others have a say in; models take what is left, but at least so many. */
const widths = { name: 16, path: 15, version: 10, leastModels: 8 } as const;

function narrowTable(views: readonly PeerView[], columns: number): Table {
  const rowWith = (view: PeerView, models: string): string[] => [
    cutText(view.name, widths.name) || '-',
    ...[shortPeerId(view.peerId), view.role, view.state, cutText(pathCell(view), widths.path)],
    ...[milliseconds(view.rttMs), loadCell(view), models, cutText(view.version, widths.version) || '-'],
  ];
  const ordered = inOrder(views);
  const others = tableWidth([header, ...ordered.map((view) => rowWith(view, ''))]) - 'MODELS'.length;
  const modelsWidth = Math.max(widths.leastModels, columns - others);
  const rows = ordered.map((view) => rowWith(view, modelCell(view.models.map(modelText), modelsWidth)));
  return { header, rows };
}

/** As Output prints it. */
function tableWidth(rows: ReadonlyArray<readonly string[]>): number {
  const ofColumn = header.map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  return ofColumn.reduce((sum, width) => sum + width, 2 * (header.length - 1));
}

/** Everything in full, and more of it. */
function wideTable(views: readonly PeerView[]): Table {
  const rows = inOrder(views).map((view) => [
    ...[view.name || '-', view.peerId, view.role, view.state, pathCell(view)],
    ...[milliseconds(view.rttMs), milliseconds(view.rttP95Ms), agoCell(view.heardMsAgo), loadCell(view)],
    ...[joined(view.models.map(modelText)), view.version || '-'],
    joined(view.paths.map(({ remoteAddress }) => remoteAddress)),
  ]);
  const wide = [...[...header.slice(0, 6), 'RTT P95', 'HEARD', ...header.slice(6)], 'ADDRESS'];
  return { header: wide, rows };
}

const order: readonly PeerView['state'][] = ['joined', 'suspect', 'dead', 'left'];

/** Those that live first, then by name. */
function inOrder(views: readonly PeerView[]): PeerView[] {
  return views.toSorted(
    (one, other) =>
      order.indexOf(one.state) - order.indexOf(other.state) || one.name.localeCompare(other.name, 'en'),
  );
}

/** E.g. `tcp out, quic in`: who dialled. */
function pathCell({ paths }: PeerView): string {
  return joined(paths.map(({ path, direction }) => `${path} ${direction === 'inbound' ? 'in' : 'out'}`));
}

/** Age beyond which a load says nothing about now: a few beats. */
const staleLoadMs = 5_000;

/** Requests, waiting ones included, over what can be answered at once, all models together. */
function loadCell({ load = [], loadAgeMs = Number.POSITIVE_INFINITY, state }: PeerView): string {
  if (load.length === 0 || loadAgeMs > staleLoadMs || state !== 'joined') {
    return '-';
  }
  const requests = load.reduce((sum, { inFlight, queued }) => sum + inFlight + queued, 0);
  const isKnown = load.every(({ slots }) => slots !== undefined);
  return `${requests}/${isKnown ? load.reduce((sum, { slots = 0 }) => sum + slots, 0) : '?'}`;
}

/** Only `ready` goes without saying. */
function modelText({ name, state }: PeerView['models'][number]): string {
  return state === 'ready' ? name : `${name} (${state ?? 'unknown'})`;
}

/** As many as fit, and how many more there are; the first one cut if need be. */
function modelCell(models: readonly string[], width: number): string {
  const all = joined(models);
  if (all.length <= width || models.length < 2) {
    return cutText(all, width);
  }
  for (let shown = models.length - 1; shown > 1; shown--) {
    const text = `${models.slice(0, shown).join(', ')} +${models.length - shown}`;
    if (text.length <= width) {
      return text;
    }
  }
  const more = ` +${models.length - 1}`;
  return `${cutText(models[0] ?? '', width - more.length)}${more}`;
}

function milliseconds(ms: number | undefined): string {
  return ms === undefined ? '-' : formatMs(ms);
}

function agoCell(ms: number | undefined): string {
  return ms === undefined ? '-' : `${(ms / 1_000).toFixed(1)} s`;
}

function joined(words: readonly string[]): string {
  return [...new Set(words)].join(', ') || '-';
}
