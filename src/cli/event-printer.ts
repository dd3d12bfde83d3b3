// Turns the events of a node into lines for a person: who and where, then a line a model that changes in
// place until the model is ready or has failed.
import type { NodeEvent } from '../node/events.ts';
import { formatBar, formatMs, formatShare, shortPeerId } from './format.ts';
import type { LiveRegion } from './live-region.ts';
import type { Output } from './output.ts';

type NodeEventOf<Kind extends NodeEvent['event']> = Extract<NodeEvent, { event: Kind }>;
type ModelEvent = NodeEventOf<'model'>;

const peerWords: Readonly<Record<NodeEventOf<'peer'>['state'], string>> = {
  joined: 'joined',
  suspect: 'fallen silent',
  dead: 'gone away',
  left: 'left',
};

export class EventPrinter {
  readonly #output: Output;
  readonly #live: LiveRegion;
  #apiUrl = '';
  #firstReady: ModelEvent | undefined;

  constructor(output: Output, live: LiveRegion) {
    this.#output = output;
    this.#live = live;
  }

  print(event: NodeEvent): void {
    switch (event.event) {
      case 'node':
        this.#printNode(event);
        return;
      case 'api':
        this.#apiUrl = event.url;
        this.#live.print(`API      ${this.#styled('name', event.url)}`);
        return;
      case 'console':
        this.#live.print(`Console  ${event.url}`);
        return;
      case 'invite':
        this.#live.print(`Join     meshnode --join ${event.token}`);
        return;
      case 'peer':
        this.#printPeer(event);
        return;
      case 'warning':
        this.#live.print(`${this.#styled('warning', 'Warning:')} ${event.message}\n  ${event.hint}`);
        return;
      case 'model':
        this.#printModel(event);
        return;
      case 'ready':
        this.#printReady();
        return;
      case 'error':
        this.#live.print(`${this.#styled('bad', 'Error:')} ${event.message}\n  ${event.hint}`);
    }
  }

  #printNode({ version, name, peerId, meshId, role, addresses }: NodeEventOf<'node'>): void {
    const where = addresses[0]?.replace(/\/p2p\/.*/, '');
    const mesh = meshId === null ? 'in no mesh' : `${role} of the mesh ${meshId.slice(0, 8)}`;
    const parts = [
      `meshnode ${version}`,
      name,
      shortPeerId(peerId),
      mesh,
      ...(where === undefined ? [] : [where]),
    ];
    this.#live.print(`Node     ${parts.join(' · ')}`);
  }

  #printPeer({ name, peerId, state, rttMs }: NodeEventOf<'peer'>): void {
    const where = state === 'joined' && rttMs !== undefined ? ` (${formatMs(rttMs)} away)` : '';
    const style = state === 'joined' ? 'good' : state === 'left' ? 'dim' : 'warning';
    const words = this.#styled(style, `has ${peerWords[state]}`);
    this.#live.print(`Peer     ${name || shortPeerId(peerId)} ${words}${where}`);
  }

  #printModel(event: ModelEvent): void {
    const { model, state, fraction, error } = event;
    if (state === 'ready') {
      this.#firstReady ??= event;
      this.#live.settle(model, `${this.#styled('good', '✓')} ${model} is ready${engineWords(event)}`);
    } else if (state === 'failed') {
      // The error event that follows says why.
      this.#live.drop(model);
    } else if (state === 'unloaded') {
      this.#live.settle(model, `${model} is unloaded`);
    } else {
      const progress = fraction === undefined ? '' : `  ${formatBar(fraction)} ${formatShare(fraction)}`;
      const why = error === undefined ? '' : `  ${error.message}`;
      this.#live.show(model, `  ${model}: ${state}${progress}${why}`);
    }
  }

  /** How to try it, once there is something to try. */
  #printReady(): void {
    const trial = this.#firstReady === undefined ? undefined : trialOf(this.#firstReady);
    if (trial !== undefined) {
      const [path, body] = trial;
      this.#live.print(
        `Try it:\n  curl ${this.#apiUrl}${path} -H 'content-type: application/json' -d '${JSON.stringify(body)}'`,
      );
    }
  }

  #styled(style: Parameters<Output['styled']>[0], text: string): string {
    return this.#output.styled(style, text, 'stderr');
  }
}

/** Which engine serves it, and what would be a better one. */
function engineWords({ engine }: ModelEvent): string {
  switch (engine) {
    case 'embedded':
      return ' · embedded engine (`meshnode engine build` makes llama-server, which answers more at once)';
    case undefined:
      return '';
    default:
      return ` · ${engine}`;
  }
}

/** Route and body of a first request that a model can answer. */
function trialOf({ model, kinds = [] }: ModelEvent): readonly [path: string, body: object] | undefined {
  const kind = (['chat', 'completion', 'embedding', 'rerank'] as const).find((one) => kinds.includes(one));
  switch (kind) {
    case 'chat':
      return ['/chat/completions', { model, messages: [{ role: 'user', content: 'Hello!' }] }];
    case 'completion':
      return ['/completions', { model, prompt: 'Once upon a time' }];
    case 'embedding':
      return ['/embeddings', { model, input: 'Hello!' }];
    case 'rerank':
      return ['/rerank', { model, query: 'fruit', documents: ['an apple', 'a stone'] }];
    case undefined:
      return undefined;
  }
}
