// Real nodes in one mesh over one transport, and official clients of their APIs: for tests of requests that cross it.
import OpenAI from 'openai';
import { afterAll, afterEach, beforeAll, expect, onTestFinished, vi } from 'vitest';
import type { ModelView, NodeStatus } from '../../src/console/status.ts';
import { AnswerCheck, type SeenAnswer } from '../conformance/answer-check.ts';
import { MeshProcess, type Path } from './mesh-process.ts';
import { enginePid } from './node-under-test.ts';
import { type RawConnection, rawConnect, rawPost } from './raw-http.ts';
import type { StartedNode } from './started-process.ts';

export const paths: readonly Path[] = ['quic', 'tcp'];

const never = new AbortController().signal;

/** What a list of models tells of one of them. */
export interface ListedModel extends OpenAI.Model {
  readonly meshnode: { readonly state: string; readonly replicas: number };
}

export interface MeshClient {
  readonly openai: OpenAI;
  /** What this client was answered so far. */
  readonly answers: readonly SeenAnswer[];
}

/** Nodes of one mesh, by their names. */
export class RequestMesh {
  readonly #nodes = new Map<string, MeshProcess>();
  readonly #checks: AnswerCheck[] = [];
  readonly #path: Path;

  private constructor(path: Path) {
    this.#path = path;
  }

  /** Resolves once each knows all others. The first founds the mesh; whatever else each needs are its flags. */
  static async start(path: Path, flags: Readonly<Record<string, readonly string[]>>): Promise<RequestMesh> {
    const mesh = new RequestMesh(path);
    try {
      const [first, ...others] = Object.entries(flags);
      if (first !== undefined) {
        const founder = await mesh.add(...first);
        const { token } = await founder.process.event('invite');
        await Promise.all(others.map(([name, own]) => mesh.add(name, ['--join', String(token), ...own])));
      }
      const nodes = [...mesh.#nodes.values()];
      await Promise.all(nodes.map((node) => node.shows(nodes.filter((other) => other !== node))));
      return mesh;
    } catch (cause) {
      await mesh.discard();
      throw cause;
    }
  }

  /** Starts one more node; resolves once its models are loaded. */
  async add(name: string, flags: readonly string[]): Promise<MeshProcess> {
    const node = await MeshProcess.create(name);
    this.#nodes.set(name, node);
    await this.restart(name, flags);
    return node;
  }

  /** Starts a node that has ended; resolves once its models are loaded. */
  async restart(name: string, flags: readonly string[]): Promise<void> {
    await this.node(name).start('--transport', this.#path, '--threads', '1', ...flags);
  }

  node(name: string): MeshProcess {
    const node = this.#nodes.get(name);
    if (node === undefined) {
      throw new Error(`There is no node ${name}.`);
    }
    return node;
  }

  /** This node as tests of single nodes see one. */
  started(name: string): StartedNode {
    const { process, home, client } = this.node(name);
    const { apiUrl = '' } = client.card;
    const stop = async (signal?: NodeJS.Signals): Promise<void> => {
      await process.stop(signal);
    };
    return { process, home, apiUrl, origin: new URL(apiUrl).origin, stop };
  }

  /** An official client of this node's API. It does not retry; what it is answered is held against the rules. */
  client(name: string): MeshClient {
    const check = new AnswerCheck();
    this.#checks.push(check);
    const { apiUrl } = this.started(name);
    const openai = new OpenAI({ baseURL: apiUrl, apiKey: 'any', maxRetries: 0, fetch: check.fetch });
    return { openai, answers: check.answers };
  }

  /** A connection to this node's API on which a stream was asked for. Closed with the test. */
  async rawStream(name: string, request: object): Promise<RawConnection> {
    const connection = await rawConnect(Number(new URL(this.started(name).origin).port));
    connection.write(rawPost('/v1/chat/completions', { ...request, stream: true }));
    return connection;
  }

  /** Every answer so far was as the rules want it. */
  expectNoFaults(): void {
    expect(this.#checks.flatMap(({ faults }) => faults.splice(0))).toEqual([]);
  }

  /** The models that this node lists, by their names. */
  async models(name: string): Promise<Record<string, ListedModel>> {
    const response = await fetch(`${this.started(name).apiUrl}/models`);
    const { data } = (await response.json()) as { data: ListedModel[] };
    return Object.fromEntries(data.map((model) => [model.id, model]));
  }

  /** Resolves once this node lists exactly these models, ready, each with so many replicas. */
  async lists(name: string, replicas: Readonly<Record<string, number>>, withinMs = 15_000): Promise<void> {
    const shown = async () =>
      Object.fromEntries(
        Object.values(await this.models(name)).map(({ id, meshnode }) => [
          id,
          meshnode.state === 'ready' ? meshnode.replicas : meshnode.state,
        ]),
      );
    await vi.waitFor(async () => expect(await shown()).toEqual(replicas), {
      timeout: withinMs,
      interval: 50,
    });
  }

  /** What this node says of a model that it serves itself. */
  async served(name: string, model: string): Promise<ModelView> {
    const status: NodeStatus = await this.node(name).client.status(never);
    const found = status.models.find((view) => view.name === model);
    if (found === undefined) {
      throw new Error(`${name} does not serve ${model}.`);
    }
    return found;
  }

  /** Resolves once the engine and the queue of a model that this node serves hold this much. */
  async holds(name: string, model: string, load: Load, withinMs: number): Promise<void> {
    const held = async (): Promise<Load> => {
      const { figures, queue } = await this.served(name, model);
      return { engine: figures?.inFlight ?? 0, running: queue?.running ?? 0, waiting: queue?.waiting ?? 0 };
    };
    await vi.waitFor(async () => expect(await held()).toEqual(load), { timeout: withinMs, interval: 20 });
  }

  /** Resolves once nodes have so many requests for a model, waiting ones included, one as many as the other in any order. */
  async share(names: readonly string[], model: string, requests: readonly number[]): Promise<void> {
    const counts = async (): Promise<number[]> => {
      const queues = await Promise.all(names.map(async (name) => (await this.served(name, model)).queue));
      return queues.map((queue) => (queue === undefined ? 0 : queue.running + queue.waiting)).sort();
    };
    await vi.waitFor(async () => expect(await counts()).toEqual([...requests].sort()), {
      timeout: 5_000,
      interval: 20,
    });
  }

  /**
   * Holds the process of a model still: its node lives, and nothing more comes of the model. The returned function
   * lets it go on, as the end of the test does; nothing if it has ended meanwhile.
   */
  async holdEngine(name: string, model: string): Promise<() => void> {
    const pid = await enginePid(this.started(name), model);
    process.kill(pid, 'SIGSTOP');
    const release = (): void => {
      try {
        process.kill(pid, 'SIGCONT');
      } catch {
        // It went with its node.
      }
    };
    onTestFinished(release);
    return release;
  }

  async discard(): Promise<void> {
    await Promise.all([...this.#nodes.values()].map((node) => node.discard()));
  }
}

export interface Load {
  /** Requests that the engine works on. */
  readonly engine: number;
  readonly running: number;
  readonly waiting: number;
}

export const idle: Load = { engine: 0, running: 0, waiting: 0 };

/** A mesh for all tests of the suite that this is called in. A test fails if any answer it got broke the rules. */
export function useMesh(
  path: Path,
  flags: () => Readonly<Record<string, readonly string[]>>,
): () => RequestMesh {
  let mesh: RequestMesh | undefined;
  beforeAll(async () => {
    mesh = await RequestMesh.start(path, flags());
  });
  afterEach(() => mesh?.expectNoFaults());
  afterAll(() => mesh?.discard());
  return () => {
    if (mesh === undefined) {
      throw new Error('The mesh is not started yet.');
    }
    return mesh;
  };
}

/** A mesh for one test, which may kill its nodes. */
export async function startMesh(
  path: Path,
  flags: Readonly<Record<string, readonly string[]>>,
): Promise<RequestMesh> {
  const mesh = await RequestMesh.start(path, flags);
  onTestFinished(async () => {
    await mesh.discard();
    mesh.expectNoFaults();
  });
  return mesh;
}

/** What the headers tell of an answer's way. */
export interface Way {
  readonly peer: string;
  readonly attempts: number;
  readonly route: Readonly<Record<string, string>>;
}

export function wayOf(answer: SeenAnswer | undefined): Way {
  const header = (name: string): string => answer?.headers.get(`x-meshnode-${name}`) ?? '';
  const fields = header('route')
    .split('; ')
    .map((field) => field.split('='));
  return {
    peer: header('peer'),
    attempts: Number(header('attempts')),
    route: Object.fromEntries(fields) as Record<string, string>,
  };
}
