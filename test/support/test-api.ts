// Starts the API over a scripted dispatch for one test, with the official client beside it.
import OpenAI from 'openai';
import { Registry } from 'prom-client';
import { onTestFinished } from 'vitest';
import { type Api, type ApiOptions, startApi } from '../../src/api/api.ts';
import type { ApiKey, KeyRing } from '../../src/api/key-ring.ts';
import { systemClock } from '../../src/util/clock.ts';
import { silentLogger } from '../../src/util/logging.ts';
import { systemRandom } from '../../src/util/random.ts';
import { type Script, ScriptedDispatch } from './scripted-dispatch.ts';

export interface TestApi extends Api {
  readonly dispatch: ScriptedDispatch;
  readonly client: OpenAI;
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>;
}

/** A ring that never changes; without keys callers on loopback need none. */
export function keyRing(...keys: ApiKey[]): KeyRing {
  return { current: async () => (keys.length === 0 ? undefined : keys) };
}

/** Options that only tests of one thing change. */
export function apiOptions(overrides: Partial<ApiOptions> = {}): ApiOptions {
  return {
    dispatch: new ScriptedDispatch(),
    host: '127.0.0.1',
    port: 0,
    keys: keyRing(),
    allowedOrigins: [],
    allowedHosts: [],
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
    metrics: new Registry(),
    nodeInfo: { version: '1.2.3', peerName: 'workstation' },
    readiness: () => ({ ready: true, waitingFor: [] }),
    ...overrides,
  };
}

/** An API that is closed when the test is over. */
export async function startTestApi(script?: Script, overrides: Partial<ApiOptions> = {}): Promise<TestApi> {
  const dispatch = new ScriptedDispatch(script);
  const api = await startApi(apiOptions({ dispatch, ...overrides }));
  onTestFinished(() => api.close(0));
  return {
    ...api,
    dispatch,
    client: new OpenAI({ baseURL: `${api.url}/v1`, apiKey: 'any', maxRetries: 0 }),
    post: (path, body, headers = {}) =>
      fetch(`${api.url}${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: typeof body === 'string' ? body : JSON.stringify(body),
      }),
  };
}

export const hello = { model: 'demo', messages: [{ role: 'user' as const, content: 'Hi' }] };

/** The payloads of an event stream's text, `[DONE]` included. */
export function payloadsOf(text: string): string[] {
  return text
    .split('\n\n')
    .filter((frame) => frame.startsWith('data: '))
    .map((frame) => frame.slice('data: '.length));
}
