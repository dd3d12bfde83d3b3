// The management API: a listener of its own on the loopback interface, behind a token and the guards of
// Host and Origin. No request of the inference API and no stream of a peer can arrive here.
import * as z from 'zod';
import { BodyReader } from '../http/body.ts';
import type { Exchange } from '../http/exchange.ts';
import { checkHost, checkOrigin, findKey, type HashedKey, hashedKey, presentedKey } from '../http/guards.ts';
import { sendError, sendJson } from '../http/json-answer.ts';
import { Router } from '../http/router.ts';
import { type HttpServer, startHttpServer } from '../http/server.ts';
import { SseWriter } from '../http/sse.ts';
import type { Clock } from '../util/clock.ts';
import { asMeshnodeError, MeshnodeError } from '../util/errors.ts';
import { apiLimits } from '../util/limits/api.ts';
import { requestLimits } from '../util/limits/inference.ts';
import type { Logger } from '../util/logging.ts';
import type { Random } from '../util/random.ts';
import type { ClusterOf } from './cluster-port.ts';
import type { ManagedMesh } from './mesh-port.ts';
import { meshRoutes } from './mesh-routes.ts';
import { get, type Handler, post } from './route.ts';
import type { ModelView, NodeStatus } from './status.ts';

/** What can be seen and done of a node from here. */
export interface ManagedNode {
  status(): NodeStatus;
  models(): readonly ModelView[];
  /** Its mesh. Throws `mesh_missing` while it takes part in none. */
  mesh(): ManagedMesh;
  /** What a plan is made from. Waits until the machine was looked at. */
  readonly cluster: ClusterOf;
  /** Begins to load a model; the events tell how it goes on. Throws `model_ref_invalid`. */
  load(reference: string): void;
  /** Rejects `model_not_found`. */
  unload(name: string): Promise<void>;
  /** Begins to stop the node. */
  stop(): void;
  /** Tells of events after number `afterId`, kept ones first. The returned function ends it. */
  follow(listener: (numbered: { id: number; event: object }) => void, afterId: number): () => void;
}

export interface ConsoleOptions {
  readonly node: ManagedNode;
  /** 0 takes any free port. */
  readonly port: number;
  readonly token: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** Only this machine may call: there is no option for another address. */
const host = '127.0.0.1';

/** Starts the management API. Rejects with `port_in_use`. */
export function startConsole(options: ConsoleOptions): Promise<HttpServer> {
  const router = new Router<Handler>(routesOf(options));
  const keys = [hashedKey('console', options.token)];
  const { port, clock, random, log } = options;
  return startHttpServer({
    host,
    port,
    clock,
    random,
    log,
    handler: async (exchange) => {
      const { request, response } = exchange;
      try {
        checkHost(request.headers, []);
        checkOrigin(request.headers, []);
        const { route } = router.match(request.method ?? 'GET', request.url ?? '/');
        checkToken(exchange, keys);
        await route.target(exchange);
      } catch (thrown) {
        const error = asMeshnodeError(thrown);
        if (error.code === 'internal') {
          log.error({ err: error, requestId: exchange.requestId }, 'a management request failed');
        }
        sendError(response, error);
      }
    },
  });
}

function checkToken({ request }: Exchange, keys: readonly HashedKey[]): void {
  const presented = presentedKey(request.headers);
  if (presented === undefined || findKey(presented, keys) === undefined) {
    throw new MeshnodeError('invalid_api_key', 'The management API wants the token of this node.', {
      hint: 'Send `Authorization: Bearer` and what the file console-token in the data folder holds.',
    });
  }
}

const loadBody = z.strictObject({ reference: z.string().min(1).max(requestLimits.modelNameLength) });
const clusterBody = z.strictObject({
  name: z.string().min(1).max(requestLimits.modelNameLength),
  digest: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
  sizeBytes: z.int().min(0),
  isHere: z.boolean(),
});
const unloadBody = z.strictObject({ name: z.string().min(1).max(requestLimits.modelNameLength) });

function routesOf({ node, clock }: ConsoleOptions) {
  const bodies = new BodyReader({
    bodyBytes: apiLimits.managementBodyBytes,
    bodiesBytes: 4 * apiLimits.managementBodyBytes,
    jsonDepth: requestLimits.jsonDepth,
  });
  const read = async <T>(exchange: Exchange, schema: z.ZodType<T>): Promise<T> =>
    parseBody(schema, await bodies.readJson(exchange));
  return [
    ...meshRoutes(() => node.mesh(), read),
    get('/api/status', ({ response }) => sendJson(response, 200, node.status())),
    get('/api/models', ({ response }) => sendJson(response, 200, { models: node.models() })),
    post('/api/cluster', async (exchange) => {
      const wanted = await read(exchange, clusterBody);
      sendJson(exchange.response, 200, await node.cluster(wanted, exchange.signal));
    }),
    get('/api/events', (exchange) => sendEvents(exchange, node, clock)),
    post('/api/models/load', async (exchange) => {
      const { reference } = await read(exchange, loadBody);
      node.load(reference);
      sendJson(exchange.response, 202, { reference });
    }),
    post('/api/models/unload', async (exchange) => {
      const { name } = await read(exchange, unloadBody);
      await node.unload(name);
      sendJson(exchange.response, 200, { name });
    }),
    post('/api/stop', ({ response }) => {
      sendJson(response, 202, {});
      node.stop();
    }),
  ];
}

function parseBody<T>(schema: z.ZodType<T>, body: unknown): T {
  const result = schema.safeParse(body);
  if (result.success) {
    return result.data;
  }
  const [issue] = result.error.issues;
  const param = issue?.path.join('.') ?? '';
  throw new MeshnodeError('invalid_request', issue?.message ?? 'The body is invalid.', {
    ...(param === '' ? {} : { param }),
  });
}

/** The events of the node until the client leaves, after the one it names in `last-event-id`. */
function sendEvents({ request, response, signal }: Exchange, node: ManagedNode, clock: Clock): Promise<void> {
  const writer = new SseWriter(response, {
    clock,
    pingMs: apiLimits.pingMs,
    stalledReaderMs: apiLimits.stalledReaderMs,
  });
  writer.open();
  // So that the client knows at once that it is connected.
  writer.ping();
  const lastSeen = Number(request.headers['last-event-id']);
  const stopFollowing = node.follow(
    ({ id, event }) => {
      if (response.writableLength > apiLimits.managementBacklogBytes) {
        // A client that does not keep up starts again where it was, from what is kept.
        response.destroy();
        return;
      }
      response.write(`id: ${id}\n`);
      writer.data(JSON.stringify(event));
    },
    Number.isSafeInteger(lastSeen) ? lastSeen : 0,
  );
  return new Promise((resolve) => {
    const leave = (): void => {
      stopFollowing();
      writer.end();
      resolve();
    };
    signal.addEventListener('abort', leave, { once: true });
    if (signal.aborted) {
      leave();
    }
  });
}
