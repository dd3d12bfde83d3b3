// How soon a mesh notices that a node is gone, and what becomes of the requests that it was asked: killed, stopped,
// its cable pulled, and leaving by its own word.
import { fileURLToPath } from 'node:url';
import { NodeClient } from '../../src/cli/node-client.ts';
import { sleep, systemClock } from '../../src/util/clock.ts';
import { markdownTable } from '../support/markdown-table.ts';
import { type JsonLine, meshnodeProgram, StartedProcess } from '../support/started-process.ts';
import type { Answered, Ending, Told } from './asker.ts';
import { Cables } from './cables.ts';
import { progress, type TrialResult } from './trial.ts';
import { allJoined, inTime, TrialNode, until } from './trial-node.ts';

/** Of each kind, half of them over each transport. */
const trialsOfEach = 50;
const transports = ['quic', 'tcp'] as const;
const kinds = ['kill -9', 'SIGSTOP', 'cable pulled', 'leave'] as const;
/** Within which everybody must know. */
const boundMs: Readonly<Record<Kind, number>> = {
  'kill -9': 5_000,
  SIGSTOP: 5_000,
  'cable pulled': 8_000,
  leave: 5_000,
};
/** Between two blows: of each member the mesh takes ten verdicts a minute, and these are about one node after the other. */
const blowEveryMs = 6_500;
/** Between two tries to have a stream answered by the victim: a quarter of a beat. */
const tryEveryMs = 250;
/** Words that come later than this after the blow were not on their way. */
const onTheWayMs = 250;
/** Time that a request caught by a dying replica may take more than usual, 99th percentile. */
const retryBoundMs = 2_000;
const endless = 'Count for ever.';
const short = 'What is the capital of France?';
const shortTokens = 40;

type Kind = (typeof kinds)[number];
type Transport = (typeof transports)[number];
type Began = Extract<Answered, { news: 'began' }>;

interface Trial {
  readonly kind: Kind;
  readonly transport: Transport;
  /** Until the last of the others took it out of its routing, and until it was dead, or had left, for the last. */
  readonly silentMs: number;
  readonly deadMs: number;
  readonly answers: readonly Caught[];
}

/** A request under way when the node went. */
interface Caught {
  /** A stream that had begun there, or one that had not begun to be answered. */
  readonly what: 'begun' | 'caught';
  readonly ending: Ending;
  /** From the blow, or from when it was asked, to its end. */
  readonly afterMs: number;
  /** Where it began to be answered, how long after the blow, and what it was told: for whoever looks into it. */
  readonly story: string;
}

export async function trialLiveness(counts: number = trialsOfEach): Promise<TrialResult> {
  const trials: Trial[] = [];
  const usualMs: number[] = [];
  const missing: string[] = [];
  for (const kind of kinds) {
    for (const transport of transports) {
      const cables = kind === 'cable pulled' ? await Cables.lay(['ada', 'victim', 'bee']) : undefined;
      if (kind === 'cable pulled' && cables === undefined) {
        missing.push(`${kind}, ${transport}: network namespaces cannot be made here`);
        continue;
      }
      const mesh = new TrialMesh(transport, cables);
      try {
        await mesh.start();
        for (let trial = 0; trial < Math.ceil(counts / transports.length); trial++) {
          const nextBlow = sleep(systemClock, blowEveryMs);
          usualMs.push(...(await mesh.usualMs()));
          trials.push(await mesh.blow(kind));
          progress(
            `${kind} ${transport} ${trial + 1}: dead after ${Math.round(trials.at(-1)?.deadMs ?? 0)} ms`,
          );
          await mesh.restore(kind);
          await nextBlow;
        }
      } finally {
        await mesh.end();
        await cables?.remove();
      }
    }
  }
  return reportOf(trials, usualMs, missing);
}

function reportOf(
  trials: readonly Trial[],
  usualMs: readonly number[],
  missing: readonly string[],
): TrialResult {
  const groups = [...Map.groupBy(trials, ({ kind, transport }) => `${kind} ${transport}`).values()];
  const caught = trials.flatMap(({ answers }) => answers.filter(({ what }) => what === 'caught'));
  const truncated = trials.flatMap(({ answers }) => answers.filter(({ ending }) => ending === 'truncated'));
  const isHeld =
    truncated.length === 0 &&
    caught.every(({ ending }) => ending === 'complete') &&
    isSoonAgain(caught, usualMs) &&
    trials.every(({ kind, deadMs }) => deadMs < boundMs[kind]);
  return {
    held: isHeld,
    report: [
      markdownTable([
        ['what', 'over', 'trials', 'silent p50', 'silent max', 'known to all p50', 'max', 'bound', 'held'],
        ...groups.map((group) => rowOf(group)),
      ]),
      '',
      markdownTable([
        ['requests', 'node', 'number', 'complete', 'told', 'cut silently', 'ended p50', 'p99', 'max'],
        ...(['begun', 'caught'] as const).flatMap((what) =>
          kinds.map((kind) => answersRow(trials, what, kind)),
        ),
      ]),
      '',
      `Usually a caught one takes ${ms(at(usualMs, 0.5))}. What a dying replica may add is ${ms(retryBoundMs)} at the 99th percentile:`,
      'where nothing breaks, another one is asked once a beat is later than those of the last minute were.',
      '',
      'Three nodes, two with the model: "silent" is when the last of the others took the node out of its routing, "known',
      'to all" when it was dead, or had left, for the last of them. Begun: streams that had given words. Caught: streams',
      'asked for at the moment of the blow, of which about half go to the node that is struck.',
      ...trials.flatMap(({ kind, transport, answers }) =>
        answers
          .filter(({ what, ending }) => what === 'caught' && ending !== 'complete')
          .map(({ ending, story }) => `- A caught one was ${ending} (${kind}, ${transport}): it ${story}.`),
      ),
      ...missing.map((what) => `Not run: ${what}.`),
    ].join('\n'),
  };
}

/** Of fewer samples nobody knows a 99th percentile. */
function isSoonAgain(caught: readonly Caught[], usualMs: readonly number[]): boolean {
  const tookMs = caught.map(({ afterMs }) => afterMs);
  return tookMs.length < 100 || at(tookMs, 0.99) - at(usualMs, 0.5) < retryBoundMs;
}

function rowOf(group: readonly Trial[]): string[] {
  const [first] = group;
  const [silent, dead] = [group.map(({ silentMs }) => silentMs), group.map(({ deadMs }) => deadMs)];
  const bound = first === undefined ? 0 : boundMs[first.kind];
  return [
    ...[first?.kind ?? '', first?.transport ?? '', String(group.length)],
    ...[ms(at(silent, 0.5)), ms(at(silent, 1)), ms(at(dead, 0.5)), ms(at(dead, 1)), `< ${ms(bound)}`],
    at(dead, 1) < bound ? 'yes' : '**no**',
  ];
}

function answersRow(trials: readonly Trial[], wanted: Caught['what'], kind: Kind): string[] {
  const struck = trials.filter((trial) => trial.kind === kind);
  const answers = struck.flatMap((trial) => trial.answers.filter(({ what }) => what === wanted));
  const count = (ending: Ending): string =>
    String(answers.filter((answer) => answer.ending === ending).length);
  const times = answers.map(({ afterMs }) => afterMs);
  return [
    ...[wanted, kind, String(answers.length), count('complete'), count('told'), count('truncated')],
    // Of fewer samples nobody knows a 99th percentile.
    ...[ms(at(times, 0.5)), times.length < 100 ? '' : ms(at(times, 0.99)), ms(at(times, 1))],
  ];
}

/**
 * Some are quicker than the blow. What is killed, stopped or cut off says nothing after it: words of it that arrive later
 * were on their way. Who leaves goes on with what it has.
 */
function isBeforeBlow({ peer, atMs }: Began, kind: Kind, struckAtMs: number): boolean {
  const isOnItsWay = kind !== 'leave' && peer === 'victim' && atMs - struckAtMs < onTheWayMs;
  return atMs <= struckAtMs || isOnItsWay;
}

function storyOf(began: Began | undefined, struckAtMs: number): string {
  return began === undefined
    ? 'never began'
    : `began at ${began.peer} ${began.atMs - struckAtMs} ms after the blow`;
}

/** The value that `share` of the samples do not exceed. */
function at(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
}

function ms(value: number): string {
  return value >= 1_000 ? `${(value / 1_000).toFixed(2)} s` : `${Math.round(value)} ms`;
}

/** Three nodes: `ada` made the mesh and has the model, `victim` has it too, `bee` is asked. */
class TrialMesh {
  readonly #transport: Transport;
  readonly #cables: Cables | undefined;
  readonly #nodes = new Map<string, TrialNode>();
  #asker: StartedProcess | undefined;
  #asked = 0;

  constructor(transport: Transport, cables: Cables | undefined) {
    this.#transport = transport;
    this.#cables = cables;
  }

  async start(): Promise<void> {
    await this.#add('ada', ['--model', 'demo']);
    const token = await this.#node('ada').token();
    await this.#add('victim', ['--model', 'demo', '--join', token]);
    await this.#add('bee', ['--join', token]);
    const asker = fileURLToPath(new URL('asker.ts', import.meta.url));
    const [command, ...args] = this.#commandOn('bee', process.execPath);
    this.#asker = new StartedProcess(command, [...args, asker]);
    await this.#whole();
  }

  /** How long an answer takes while nobody dies. */
  async usualMs(): Promise<number[]> {
    const ids = [this.#ask(short, shortTokens), this.#ask(short, shortTokens)];
    return Promise.all(ids.map(async (id) => (await this.#news(id, 'ended')).tookMs));
  }

  async blow(kind: Kind): Promise<Trial> {
    const begun = await this.#beginAtVictim();
    const others = [this.#node('ada'), this.#node('bee')];
    const marks = new Map(others.map((node) => [node, node.mark()]));
    const [startMs, startedAtMs] = [performance.now(), Date.now()];
    const caught = Array.from({ length: 4 }, () => this.#ask(short, shortTokens));
    await this.#strike(kind);
    const struckAtMs = Date.now();
    const since = async (states: readonly string[]): Promise<number> => {
      const seen = others.map((node) =>
        node.peerIs(this.#node('victim').peerId, states, marks.get(node) ?? 0),
      );
      return Math.max(...(await Promise.all(seen))) - startMs;
    };
    const silentMs = await since(['suspect', 'dead', 'left']);
    const deadMs = await since(['dead', 'left']);
    const ended = async (id: number): Promise<Caught> => {
      const { ending, why, atMs, tookMs } = await this.#news(id, 'ended');
      const began = this.#beginning(id);
      const told = { ending, story: `${storyOf(began, struckAtMs)}: ${why}` };
      return id === begun || (began !== undefined && isBeforeBlow(began, kind, struckAtMs))
        ? { ...told, what: 'begun', afterMs: atMs - startedAtMs }
        : { ...told, what: 'caught', afterMs: tookMs };
    };
    const answers = await Promise.all([begun, ...caught].map(ended));
    return { kind, transport: this.#transport, silentMs, deadMs, answers };
  }

  /** As it was before the blow. */
  async restore(kind: Kind): Promise<void> {
    const victim = this.#node('victim');
    if (kind === 'SIGSTOP') {
      process.kill(victim.process.pid, 'SIGCONT');
    } else if (kind === 'cable pulled') {
      await this.#cables?.plug('victim');
    } else {
      await victim.process.stop('SIGKILL');
      await this.#launch(victim, ['--model', 'demo', '--join', await this.#node('ada').token()]);
    }
    await this.#whole();
  }

  async end(): Promise<void> {
    await this.#asker?.stop('SIGKILL');
    await Promise.all([...this.#nodes.values()].map((node) => node.discard()));
  }

  async #strike(kind: Kind): Promise<void> {
    const { process: victim, home } = this.#node('victim');
    switch (kind) {
      case 'kill -9':
        process.kill(victim.pid, 'SIGKILL');
        break;
      case 'SIGSTOP':
        process.kill(victim.pid, 'SIGSTOP');
        break;
      case 'cable pulled':
        await this.#cables?.pull('victim');
        break;
      case 'leave': {
        const client = await NodeClient.find(home);
        // It ends what it has begun first, and its process is none of the mesh's any more.
        client.leave(false, new AbortController().signal).catch(() => {});
        break;
      }
    }
  }

  /** A long stream that the victim answers: others are let go again, and ended. */
  async #beginAtVictim(): Promise<number> {
    for (let tries = 0; tries < 20; tries++) {
      const ids = [this.#ask(endless, 1_500), this.#ask(endless, 1_500)];
      const began = await Promise.all(ids.map((id) => this.#news(id, 'began')));
      const wanted = began.find(({ peer }) => peer === 'victim')?.id;
      const others = ids.filter((id) => id !== wanted);
      for (const id of others) {
        this.#tell({ hangUp: id });
      }
      await Promise.all(others.map((id) => this.#news(id, 'ended')));
      if (wanted !== undefined) {
        return wanted;
      }
      // What its last beat said of it must be over.
      await sleep(systemClock, tryEveryMs);
    }
    throw new Error('No stream came to be answered by the victim.');
  }

  #ask(prompt: string, maxTokens: number): number {
    const id = ++this.#asked;
    const { apiUrl } = this.#node('bee');
    this.#tell({ id, apiUrl, prompt, maxTokens });
    return id;
  }

  #tell(told: Told): void {
    this.#asker?.child.stdin?.write(`${JSON.stringify(told)}\n`);
  }

  #beginning(id: number): Began | undefined {
    const began = this.#asker?.lines.find((line) => line['id'] === id && line['news'] === 'began');
    return began as unknown as Began | undefined;
  }

  async #news<News extends Answered['news']>(
    id: number,
    news: News,
  ): Promise<Extract<Answered, { news: News }>> {
    const isWanted = (line: JsonLine): boolean => line['id'] === id && line['news'] === news;
    const line = await inTime(`answer ${id} has ${news}`, this.#asker?.line(isWanted));
    return line as unknown as Extract<Answered, { news: News }>;
  }

  /** Everybody sees everybody, and the model twice. */
  async #whole(): Promise<void> {
    await allJoined([...this.#nodes.values()]);
    await until('both replicas are asked', async () => {
      const ids = Array.from({ length: 4 }, () => this.#ask(short, 2));
      const began = await Promise.all(ids.map((id) => this.#news(id, 'began')));
      return new Set(began.map(({ peer }) => peer)).size === 2;
    });
  }

  async #add(name: string, flags: readonly string[]): Promise<void> {
    const node = await TrialNode.create(name, this.#commandOn(name, meshnodeProgram));
    this.#nodes.set(name, node);
    await this.#launch(node, flags);
  }

  async #launch(node: TrialNode, flags: readonly string[]): Promise<void> {
    const bind = this.#cables === undefined ? [] : ['--bind', this.#cables.address(node.name)];
    await node.launch(['--transport', this.#transport, ...bind, ...flags]);
  }

  #commandOn(host: string, command: string): readonly [string, ...string[]] {
    return this.#cables?.commandOn(host, command) ?? [command];
  }

  #node(name: string): TrialNode {
    const node = this.#nodes.get(name);
    if (node === undefined) {
      throw new Error(`There is no node ${name}.`);
    }
    return node;
  }
}
