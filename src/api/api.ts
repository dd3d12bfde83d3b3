// The inference API's listener: who may call, which route answers, and what is told when that fails.
import type { Registry } from 'prom-client';
import type { Dispatch } from '../dispatch/answer.ts';
import type { Exchange, HttpHandler } from '../http/exchange.ts';
import {
  allowCrossOrigin,
  answerPreflight,
  checkHost,
  checkKey,
  checkOrigin,
  type HashedKey,
  isPreflight,
} from '../http/guards.ts';
import { sendError } from '../http/json-answer.ts';
import { isLoopbackHost } from '../http/loopback.ts';
import { pathOf, Router } from '../http/router.ts';
import { startHttpServer } from '../http/server.ts';
import type { Clock } from '../util/clock.ts';
import { asMeshnodeError, errorTable, MeshnodeError } from '../util/errors.ts';
import { apiLimits } from '../util/limits/api.ts';
import { nodeLimits } from '../util/limits/node.ts';
import type { Logger } from '../util/logging.ts';
import type { Random } from '../util/random.ts';
import { peerHeader } from './answer-headers.ts';
import { KeyMeter } from './key-meter.ts';
import type { ApiKey, KeyRing } from './key-ring.ts';
import { ApiMetrics } from './metrics.ts';
import {
  type ApiHandler,
  apiRoutes,
  type NodeInfo,
  openPaths,
  type Readiness,
  type RequestRecord,
} from './routes.ts';

export type ApiLimits = { readonly [Name in keyof typeof apiLimits]: number };

export interface ApiOptions {
  readonly dispatch: Dispatch;
  /** Address to bind. Any but loopback needs a key in `keys`. */
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  readonly keys: KeyRing;
  /** The owner's own key: it always works, and does not make others need one. */
  readonly ownerKey?: HashedKey;
  /** Origins of web pages that may call, beside those of this machine, e.g. `https://chat.example.org`. */
  readonly allowedOrigins: readonly string[];
  /** Names of this machine that a Host header may hold, beside the loopback ones, lower case. */
  readonly allowedHosts: readonly string[];
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Takes the API's metrics and is shown at `/metrics`; one per API. */
  readonly metrics: Registry;
  readonly nodeInfo: NodeInfo;
  readonly readiness: () => Readiness;
  /** Other bounds than `apiLimits`, for tests. */
  readonly limits?: Partial<ApiLimits>;
}

export interface Api {
  /** Without a path, e.g. `http://127.0.0.1:9337`. */
  readonly url: string;
  readonly port: number;
  /** Accepts no more and ends once running answers are complete, or after `drainMs`. Idempotent. */
  close(drainMs?: number): Promise<void>;
}

/** Starts the API. Rejects with `key_required`, `port_in_use` or `config_invalid`. */
export async function startApi(options: ApiOptions): Promise<Api> {
  const { host, port, keys, clock, random, log } = options;
  if (!isLoopbackHost(host) && ((await keys.current()) ?? []).length === 0) {
    throw new MeshnodeError(
      'key_required',
      `Listening on ${host} lets others call this node, and there is no key.`,
    );
  }
  const limits: ApiLimits = { ...apiLimits, ...options.limits };
  const metrics = new ApiMetrics(options.metrics);
  const router = new Router(apiRoutes({ ...options, limits, metrics }));
  const handler = apiHandler(router, metrics, options);
  const server = await startHttpServer({ host, port, handler, limits, clock, random, log });
  return {
    url: server.url,
    port: server.port,
    close: (drainMs = nodeLimits.drainMs) => server.close(drainMs),
  };
}

/** Guards, then the route, then the failure of either. */
function apiHandler(router: Router<ApiHandler>, metrics: ApiMetrics, options: ApiOptions): HttpHandler {
  const log = options.log.child({ part: 'api' });
  const guard = apiGuard(options);
  const keyMeter = new KeyMeter(options.clock);
  const ownPeer = peerHeader(options.nodeInfo.peerName)['x-meshnode-peer'];
  return async (exchange) => {
    const { request, response, requestId } = exchange;
    const record: RequestRecord = { route: 'none', model: 'none' };
    const startMs = options.clock.monotonicMs();
    const { method = '', url = '/' } = request;
    try {
      const key = await guard(exchange);
      response.setHeader('x-meshnode-peer', ownPeer);
      const account = key && keyMeter.open(key, response);
      if (key !== undefined) {
        record.caller = key.name;
      }
      if (isPreflight(request)) {
        answerPreflight(request, response, router.allow(url));
      } else if (method === 'OPTIONS') {
        response.writeHead(204, { allow: router.allow(url) }).end();
      } else {
        const { route, params } = router.match(method, url);
        record.route = route.template;
        await route.target({ ...exchange, record, params, ...(account === undefined ? {} : { account }) });
      }
    } catch (thrown) {
      const error = asMeshnodeError(thrown);
      if (error.code === 'internal') {
        log.error({ err: error.details.cause ?? error, requestId }, 'a request failed through our own fault');
      }
      record.status = error.kind.status;
      sendError(response, error);
    }
    const status = statusOf(exchange, record);
    metrics.countRequest(record.model, record.route, status);
    log.debug(
      { requestId, ...record, status, tookMs: Math.round(options.clock.monotonicMs() - startMs) },
      'answered',
    );
  };
}

/** Tells whose key was presented, where one is needed. Rejects with `forbidden_origin` or `invalid_api_key`. */
function apiGuard(options: ApiOptions): (exchange: Exchange) => Promise<ApiKey | undefined> {
  const { host, keys, ownerKey, allowedOrigins, allowedHosts } = options;
  const ownerKeys: readonly ApiKey[] = ownerKey === undefined ? [] : [ownerKey];
  // Elsewhere a key is needed, which a web page that rebinds its name does not have.
  const loopback = isLoopbackHost(host);
  return async ({ request, response }) => {
    if (loopback) {
      checkHost(request.headers, allowedHosts);
    }
    checkOrigin(request.headers, allowedOrigins);
    allowCrossOrigin(request, response);
    if (isPreflight(request) || openPaths.has(pathOf(request.url ?? '/'))) {
      return undefined;
    }
    const inForce = await keys.current();
    const needsKey = !loopback || inForce !== undefined;
    return needsKey ? checkKey(request.headers, [...ownerKeys, ...(inForce ?? [])]) : undefined;
  };
}

function statusOf({ signal, response }: Exchange, record: RequestRecord): number {
  return record.status ?? (signal.aborted ? errorTable.cancelled.status : response.statusCode);
}
