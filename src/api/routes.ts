// The table of the API's routes and what each does.

import { type BodyLimits, BodyReader } from '../http/body.ts';
import type { Exchange } from '../http/exchange.ts';
import { sendJson, sendText } from '../http/json-answer.ts';
import type { Route } from '../http/router.ts';
import { MeshnodeError } from '../util/errors.ts';
import { apiLimits } from '../util/limits/api.ts';
import { requestLimits } from '../util/limits/inference.ts';
import { type AnswerComponents, type AnswerLimits, answerCall } from './answer-call.ts';
import type { KeyAccount } from './key-meter.ts';
import type { ApiMetrics } from './metrics.ts';
import { readChat } from './openai/chat-reader.ts';
import { readCompletion } from './openai/completion-reader.ts';
import { readEmbedding } from './openai/embeddings.ts';
import { findModel, modelList } from './openai/models.ts';
import { readRerank } from './openai/rerank.ts';
import type { CallContext, SurfaceReader } from './surface.ts';

/** Whether the node does what it was asked to do. */
export interface Readiness {
  readonly ready: boolean;
  /** What is still missing, a sentence each, e.g. `demo is loading`. Never a path. */
  readonly waitingFor: readonly string[];
}

export interface NodeInfo {
  readonly version: string;
  /** How this node is called in the mesh. */
  readonly peerName: string;
}

export interface RouteComponents extends AnswerComponents {
  readonly metrics: ApiMetrics;
  readonly nodeInfo: NodeInfo;
  readonly readiness: () => Readiness;
  readonly limits: AnswerLimits & Omit<BodyLimits, 'jsonDepth'>;
}

/** What becomes known of a request while it is answered, for the metrics and the log. */
export interface RequestRecord {
  /** Name of the caller's key; for the log only. */
  caller?: string;
  route: string;
  model: string;
  /** How it ended, if the status line does not say so. */
  status?: number;
}

export interface ApiExchange extends Exchange {
  /** There if the caller's key has limits. */
  readonly account?: KeyAccount;
  readonly record: RequestRecord;
  readonly params: Readonly<Record<string, string>>;
}

export type ApiHandler = (exchange: ApiExchange) => Promise<void>;

/** Paths that need no key: they tell nothing but that somebody is there. */
export const openPaths: ReadonlySet<string> = new Set(['/', '/health']);

export function apiRoutes(components: RouteComponents): Array<Route<ApiHandler>> {
  const { dispatch, metrics, nodeInfo, readiness, limits } = components;
  const bodies = new BodyReader({ ...limits, jsonDepth: requestLimits.jsonDepth });
  const get = (template: string, answer: (exchange: ApiExchange) => void | Promise<void>) =>
    ({ method: 'GET', template, target: async (exchange) => answer(exchange) }) satisfies Route<ApiHandler>;
  const infer = (template: string, read: SurfaceReader) =>
    ({
      method: 'POST',
      template,
      target: (exchange) => answerInference(exchange, read, bodies, components),
    }) satisfies Route<ApiHandler>;

  return [
    infer('/v1/chat/completions', readChat),
    infer('/v1/completions', readCompletion),
    infer('/v1/embeddings', readEmbedding),
    infer('/v1/rerank', readRerank),
    get('/v1/models', ({ response }) => sendJson(response, 200, modelList(dispatch.models()))),
    get('/v1/models/{id}', ({ response, params }) =>
      sendJson(response, 200, findModel(dispatch.models(), params['id'] ?? '')),
    ),
    get('/health', ({ response }) => sendJson(response, 200, { status: 'ok' })),
    get('/readyz', ({ response }) => {
      const { ready, waitingFor } = readiness();
      sendJson(response, ready ? 200 : 503, {
        status: ready ? 'ready' : 'waiting',
        waiting_for: waitingFor,
      });
    }),
    get('/version', ({ response }) =>
      sendJson(response, 200, { name: 'meshnode', version: nodeInfo.version, peer: nodeInfo.peerName }),
    ),
    get('/metrics', async ({ response }) => sendText(response, await metrics.text(), metrics.contentType)),
    get('/', ({ response }) =>
      sendText(response, `meshnode ${nodeInfo.version} is running. The OpenAI API is under /v1.\n`),
    ),
  ];
}

async function answerInference(
  exchange: ApiExchange,
  read: SurfaceReader,
  bodies: BodyReader,
  components: RouteComponents,
): Promise<void> {
  const { clock, dispatch, metrics } = components;
  const { account } = exchange;
  account?.admit();
  const waitForLoadMs = waitWish(exchange);
  const call = read(await bodies.readJson(exchange), contextOf(exchange));
  const name = call.requests[0].model.name;
  const label = dispatch.models().some((model) => model.name === name) ? metrics.modelLabel(name) : 'unknown';
  exchange.record.model = label;
  const watchers = [metrics.meter(label, clock), ...(account === undefined ? [] : [account])];
  exchange.record.status = await answerCall(
    exchange,
    call,
    { watchers, ...(waitForLoadMs === undefined ? {} : { waitForLoadMs }) },
    components,
  );
}

function contextOf({ request, requestId }: ApiExchange): CallContext {
  const sessionId = request.headers['x-session-id'];
  return { requestId, ...(typeof sessionId === 'string' ? { sessionId } : {}) };
}

/** `x-meshnode-wait`: seconds that the caller will wait for a model that is loading. */
function waitWish({ request }: ApiExchange): number | undefined {
  const wish = request.headers['x-meshnode-wait'];
  if (wish === undefined) {
    return undefined;
  }
  if (typeof wish !== 'string' || !/^\d{1,6}(\.\d{1,3})?$/.test(wish)) {
    throw new MeshnodeError('invalid_request', 'The header x-meshnode-wait is not a number of seconds.', {
      param: 'x-meshnode-wait',
    });
  }
  return Math.min(Number(wish) * 1000, apiLimits.waitForLoadMs);
}
