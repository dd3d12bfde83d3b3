// A Hugging Face hub on loopback: the routes, headers and redirects of the real one, and knobs to make it
// misbehave. Large files come from a second host, as from the real hub's storage.
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** One way to misbehave, used up after `times` uses (default: for ever). */
export interface HubFault {
  /** Which requests: the API's, `resolve` on the hub itself, or the storage host's. */
  readonly on: 'api' | 'resolve' | 'storage';
  times?: number;
  /** Answer with this status and these headers. */
  readonly status?: number;
  readonly headers?: Record<string, string>;
  /** Cut the connection after so many bytes of the body. */
  readonly cutAfterBytes?: number;
  /** Send so many bytes of the body, then nothing more. */
  readonly stallAfterBytes?: number;
  /** Ignore Range: always the whole file with 200. */
  readonly noRanges?: boolean;
  /** Another byte than the published ones at this offset of the file. */
  readonly wrongByteAt?: number;
  /** End cleanly, as if the file were so long. */
  readonly pretendSizeBytes?: number;
  /** Send so many bytes, then wait for `release()`. */
  readonly holdAfterBytes?: number;
}

export interface HubRequestLog {
  readonly host: 'hub' | 'storage';
  readonly method: string;
  readonly path: string;
  readonly authorization?: string;
  readonly range?: string;
  readonly ifRange?: string;
  /** Body bytes handed to the socket. */
  sentBytes: number;
}

/** A cut follows the bytes after this long: at once, the client would drop what it has not read yet. */
const cutDelayMs = 20;

interface HubRepository {
  commit: string;
  readonly files: Map<string, Buffer>;
  gated: boolean;
  /** Changes the storage's validator of every file, as a new upload does. */
  etagSalt: string;
}

export class TestHub {
  readonly requests: HubRequestLog[] = [];
  readonly faults: HubFault[] = [];
  /** The only token that opens gated repositories. */
  readonly token = 'hf_test_token';
  readonly #repositories = new Map<string, HubRepository>();
  readonly #hub: Server;
  readonly #storage: Server;
  #endpoint = '';
  #held: Array<() => void> = [];
  #onHeld: Array<() => void> = [];

  private constructor() {
    this.#hub = createServer((request, response) => this.#answerHub(request, response));
    this.#storage = createServer((request, response) => this.#answerStorage(request, response));
  }

  static async start(): Promise<TestHub> {
    const hub = new TestHub();
    await Promise.all([listen(hub.#hub), listen(hub.#storage)]);
    hub.#endpoint = `http://127.0.0.1:${port(hub.#hub)}`;
    return hub;
  }

  /** What HF_ENDPOINT would be. */
  get endpoint(): string {
    return this.#endpoint;
  }

  async close(): Promise<void> {
    this.release();
    await Promise.all([close(this.#hub), close(this.#storage)]);
  }

  /** Publishes a repository, or a new commit of it. */
  publish(name: string, files: Record<string, Buffer>, options: { gated?: boolean } = {}): string {
    const content = Object.entries(files).map(([path, bytes]) => `${path} ${sha256(bytes)}`);
    const commit = createHash('sha1').update(content.join('\n')).digest('hex');
    const gated = options.gated ?? false;
    this.#repositories.set(name, { commit, files: new Map(Object.entries(files)), gated, etagSalt: '' });
    return commit;
  }

  /** Gives every file of a repository another storage validator, with the same bytes. */
  changeEtags(name: string): void {
    const repository = this.#repositories.get(name);
    if (repository !== undefined) {
      repository.etagSalt += 'x';
    }
  }

  fault(fault: HubFault): void {
    this.faults.push(fault);
  }

  /** Lets held bodies go on. */
  release(): void {
    for (const go of this.#held.splice(0)) {
      go();
    }
  }

  /** Resolves once a body is held. */
  held(): Promise<void> {
    return this.#held.length > 0 ? Promise.resolve() : new Promise((resolve) => this.#onHeld.push(resolve));
  }

  /** Requests for file bytes. */
  get storageRequests(): HubRequestLog[] {
    return this.requests.filter(({ host }) => host === 'storage');
  }

  #answerHub(request: IncomingMessage, response: ServerResponse): void {
    const log = this.#log('hub', request);
    const path = decodeURIComponent(new URL(log.path, this.endpoint).pathname);
    const isApi = path.startsWith('/api/');
    if (this.#refuse(isApi ? 'api' : 'resolve', response)) {
      return;
    }
    const [, name = '', verb = '', rest = ''] =
      (isApi
        ? /^\/api\/models\/([^/]+\/[^/]+)\/(revision|tree)\/(.+)$/
        : /^\/([^/]+\/[^/]+)\/(resolve)\/(.+)$/
      ).exec(path) ?? [];
    const repository = this.#repositories.get(name);
    if (repository === undefined) {
      // The real hub hides what does not exist behind a 401.
      respond(response, 401, { 'x-error-code': 'RepoNotFound' }, { error: 'Invalid username or password.' });
    } else if (verb === 'revision') {
      this.#answerRevision(response, name, repository, rest);
    } else if (verb === 'tree') {
      this.#answerTree(response, name, repository, new URL(log.path, this.endpoint).searchParams);
    } else {
      this.#redirect(response, name, repository, rest, log);
    }
  }

  #answerRevision(response: ServerResponse, name: string, repository: HubRepository, revision: string): void {
    if (![repository.commit, 'main', 'HEAD'].includes(revision)) {
      respond(
        response,
        404,
        { 'x-error-code': 'RevisionNotFound' },
        { error: `Invalid rev id: ${revision}` },
      );
      return;
    }
    const { commit: sha, gated } = repository;
    respond(
      response,
      200,
      {},
      { _id: '1', id: name, sha, private: false, gated, lastModified: '2025-01-01' },
    );
  }

  /** Two files a page, so that every listing of more follows the `Link` header. */
  #answerTree(
    response: ServerResponse,
    name: string,
    repository: HubRepository,
    query: URLSearchParams,
  ): void {
    const start = Number(query.get('cursor') ?? 0);
    const page = [...repository.files].slice(start, start + 2).map(([path, bytes]) => ({
      type: 'file',
      path,
      oid: createHash('sha1').update(bytes).digest('hex'),
      size: bytes.length,
      lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 134 },
    }));
    const next = `${this.endpoint}/api/models/${name}/tree/${repository.commit}?recursive=true&cursor=${start + 2}`;
    const more = start + 2 < repository.files.size;
    respond(response, 200, more ? { link: `<${next}>; rel="next"` } : {}, page);
  }

  #redirect(
    response: ServerResponse,
    name: string,
    repository: HubRepository,
    rest: string,
    log: HubRequestLog,
  ): void {
    const [revision, ...path] = rest.split('/');
    const bytes = repository.files.get(path.join('/'));
    if (repository.gated && log.authorization !== `Bearer ${this.token}`) {
      respond(response, log.authorization === undefined ? 401 : 403, { 'x-error-code': 'GatedRepo' }, {});
    } else if (bytes === undefined || (revision !== 'main' && revision !== repository.commit)) {
      respond(response, 404, { 'x-error-code': 'EntryNotFound' }, {});
    } else {
      response.writeHead(302, {
        location: `http://localhost:${port(this.#storage)}/${name}/${path.join('/')}?signature=1`,
        'x-repo-commit': repository.commit,
        'x-linked-etag': `"${sha256(bytes)}"`,
        'x-linked-size': String(bytes.length),
      });
      response.end();
    }
  }

  #answerStorage(request: IncomingMessage, response: ServerResponse): void {
    const log = this.#log('storage', request);
    if (this.#refuse('storage', response)) {
      return;
    }
    const [, name = '', path = ''] = /^\/([^/]+\/[^/]+)\/(.+)\?/.exec(decodeURIComponent(log.path)) ?? [];
    const repository = this.#repositories.get(name);
    const published = repository?.files.get(path);
    if (repository === undefined || published === undefined) {
      respond(response, 404, {}, {});
      return;
    }
    const fault = this.#take('storage');
    const bytes = misshapen(published, fault);
    const etag = `"${createHash('md5').update(published).update(repository.etagSalt).digest('hex')}"`;
    const range = rangeOf(log, etag, bytes.length, fault);
    const { start, end } = range ?? { start: 0, end: bytes.length };
    if (start >= bytes.length && start > 0) {
      respond(response, 416, { 'content-range': `bytes */${bytes.length}` }, {});
      return;
    }
    response.writeHead(range === undefined ? 200 : 206, {
      etag,
      'accept-ranges': 'bytes',
      'content-length': end - start,
      ...(range === undefined ? {} : { 'content-range': `bytes ${start}-${end - 1}/${bytes.length}` }),
    });
    this.#sendBody(response, bytes.subarray(start, end), fault, log);
  }

  #sendBody(response: ServerResponse, body: Buffer, fault: HubFault | undefined, log: HubRequestLog): void {
    const stop = fault?.cutAfterBytes ?? fault?.stallAfterBytes ?? fault?.holdAfterBytes ?? body.length;
    const part = body.subarray(0, stop);
    log.sentBytes = part.length;
    response.write(part, () => {
      if (fault?.cutAfterBytes !== undefined) {
        setTimeout(() => response.destroy(), cutDelayMs);
      } else if (fault?.holdAfterBytes !== undefined) {
        this.#hold(() => {
          log.sentBytes = body.length;
          response.end(body.subarray(stop));
        });
      } else if (fault?.stallAfterBytes === undefined) {
        response.end();
      }
    });
  }

  #hold(go: () => void): void {
    this.#held.push(go);
    for (const tell of this.#onHeld.splice(0)) {
      tell();
    }
  }

  #log(host: 'hub' | 'storage', request: IncomingMessage): HubRequestLog {
    const { authorization, range, 'if-range': ifRange } = request.headers;
    const log: HubRequestLog = {
      host,
      method: request.method ?? '',
      path: request.url ?? '',
      sentBytes: 0,
      ...(authorization === undefined ? {} : { authorization }),
      ...(range === undefined ? {} : { range }),
      ...(typeof ifRange !== 'string' ? {} : { ifRange }),
    };
    this.requests.push(log);
    return log;
  }

  /** Answers with the next fault that is a status. */
  #refuse(on: HubFault['on'], response: ServerResponse): boolean {
    const fault = this.#take(on, (each) => each.status !== undefined);
    if (fault?.status === undefined) {
      return false;
    }
    respond(response, fault.status, fault.headers ?? {}, { error: 'a fault' });
    return true;
  }

  #take(on: HubFault['on'], wanted = (fault: HubFault) => fault.status === undefined): HubFault | undefined {
    const index = this.faults.findIndex((each) => each.on === on && wanted(each));
    const fault = this.faults[index];
    if (fault?.times !== undefined && --fault.times === 0) {
      this.faults.splice(index, 1);
    }
    return fault;
  }
}

export function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** The bytes a fault makes of a published file. */
function misshapen(published: Buffer, fault: HubFault | undefined): Buffer {
  const bytes = Buffer.from(published.subarray(0, fault?.pretendSizeBytes ?? published.length));
  if (fault?.wrongByteAt !== undefined) {
    bytes.writeUInt8(bytes.readUInt8(fault.wrongByteAt) ^ 0xff, fault.wrongByteAt);
  }
  return bytes;
}

/** The part of the body that is asked for; undefined: the whole, also if If-Range names another content. */
function rangeOf(
  log: HubRequestLog,
  etag: string,
  sizeBytes: number,
  fault: HubFault | undefined,
): { readonly start: number; readonly end: number } | undefined {
  const [, start, last] = /^bytes=(\d+)-(\d*)$/.exec(log.range ?? '') ?? [];
  const honoured = fault?.noRanges !== true && (log.ifRange === undefined || log.ifRange === etag);
  if (start === undefined || !honoured) {
    return undefined;
  }
  return { start: Number(start), end: last ? Math.min(Number(last) + 1, sizeBytes) : sizeBytes };
}

function respond(
  response: ServerResponse,
  status: number,
  headers: Record<string, string>,
  body: unknown,
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(body));
}

function listen(server: Server): Promise<void> {
  return new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
}

function close(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve) => (server.listening ? server.close(() => resolve()) : resolve()));
}

function port(server: Server): number {
  return (server.address() as AddressInfo).port;
}
