// The API with keys: who gets in, how much each may use, and what answers say of it.
import OpenAI, { RateLimitError } from 'openai';
import { Registry } from 'prom-client';
import { describe, expect, it, vi } from 'vitest';
import type { KeyLimits } from '../../../src/api/key-limits.ts';
import { durationText } from '../../../src/api/key-meter.ts';
import type { ApiKey, KeyRing } from '../../../src/api/key-ring.ts';
import { hashedKey } from '../../../src/http/guards.ts';
import type { UsageEvent } from '../../../src/inference/events.ts';
import { systemClock } from '../../../src/util/clock.ts';
import { createLogger } from '../../../src/util/logging.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { accepted, end, type Script, textAnswer } from '../../support/scripted-dispatch.ts';
import { hello, keyRing, startTestApi, type TestApi } from '../../support/test-api.ts';

const secret = 'mn-guest';
const guest = (limits: KeyLimits = {}): ApiKey => ({ ...hashedKey('guest', secret), ...limits });
const bearer = (key = secret) => ({ authorization: `Bearer ${key}` });
const chat = (api: TestApi, body: object = {}, key = secret) =>
  api.post('/v1/chat/completions', { ...hello, ...body }, bearer(key));

/** The `x-ratelimit-*` headers of an answer, by what follows that. */
function rateLimits({ headers }: Response): Record<string, string> {
  const prefix = 'x-ratelimit-';
  return Object.fromEntries(
    [...headers]
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, value]) => [name.slice(prefix.length), value]),
  );
}

function answerWithUsage(usage: Omit<UsageEvent, 'type'>): Script {
  return () => [
    accepted,
    { type: 'delta', index: 0, text: 'Hi' },
    { type: 'finish', index: 0, reason: 'stop' },
    { type: 'usage', ...usage },
    end,
  ];
}

describe('who gets in', () => {
  it('is nobody once the last key is gone, and not everybody', async () => {
    let current: readonly ApiKey[] | undefined = [guest()];
    const keys: KeyRing = { current: async () => current };
    const api = await startTestApi(undefined, { keys });
    expect((await chat(api)).status).toBe(200);
    current = [];
    expect((await chat(api)).status).toBe(401);
    expect((await api.post('/v1/chat/completions', hello)).status).toBe(401);
  });

  it('is nobody without a key beyond loopback, even if all keys vanish while the node runs', async () => {
    let current: readonly ApiKey[] | undefined = [guest()];
    const api = await startTestApi(undefined, { host: '0.0.0.0', keys: { current: async () => current } });
    current = undefined;
    expect((await api.post('/v1/chat/completions', hello)).status).toBe(401);
    expect((await chat(api)).status).toBe(401);
  });

  it('is the owner whatever keys there are, which makes nobody else need one', async () => {
    const ownerKey = hashedKey('owner', 'token');
    const free = await startTestApi(undefined, { ownerKey });
    expect((await free.post('/v1/chat/completions', hello)).status).toBe(200);
    const locked = await startTestApi(undefined, { ownerKey, keys: keyRing(guest()) });
    expect((await locked.post('/v1/chat/completions', hello)).status).toBe(401);
    expect((await chat(locked, {}, 'token')).status).toBe(200);
  });

  it('is told to the log by the name of the key, and to the metrics not at all', async () => {
    const lines: string[] = [];
    const log = createLogger('debug', { write: (line: string) => lines.push(line) }, { pretty: false });
    const metrics = new Registry();
    const api = await startTestApi(undefined, { keys: keyRing(guest()), log, metrics });
    await (await chat(api)).text();
    await vi.waitFor(() => expect(lines.join('')).toContain('"caller":"guest"'), { interval: 5 });
    expect(lines.join('')).not.toContain(secret);
    expect(await metrics.metrics()).not.toContain('guest');
  });
});

describe('requests a minute', () => {
  it('are counted down in every answer, and refused with 429 when none is left', async () => {
    const clock = new ManualClock();
    const api = await startTestApi(undefined, { clock, keys: keyRing(guest({ requestsPerMinute: 2 })) });
    const told = [];
    for (let count = 0; count < 3; count++) {
      const response = await chat(api);
      told.push([response.status, rateLimits(response)]);
    }
    const limits = (remaining: string, reset: string) => ({
      'limit-requests': '2',
      'remaining-requests': remaining,
      'reset-requests': reset,
    });
    expect(told).toEqual([
      [200, limits('1', '30s')],
      [200, limits('0', '1m0s')],
      [429, limits('0', '1m0s')],
    ]);
    await clock.advance(30_000);
    expect((await chat(api)).status).toBe(200);
  });

  it('say in the refusal who may use what, and when to come again', async () => {
    const clock = new ManualClock();
    const api = await startTestApi(undefined, { clock, keys: keyRing(guest({ requestsPerMinute: 1 })) });
    await chat(api);
    const refused = await chat(api);
    expect(refused.headers.get('retry-after')).toBe('60');
    expect(refused.headers.has('x-should-retry')).toBe(false);
    expect(await refused.json()).toEqual({
      error: {
        message: "The key 'guest' may use 1 request a minute; it has to wait 1m0s.",
        type: 'rate_limit_error',
        param: null,
        code: 'rate_limit_exceeded',
      },
    });
    expect(api.dispatch.calls).toHaveLength(1);
  });

  it('are those that ask a model: looking around is free, and told what is left', async () => {
    const api = await startTestApi(undefined, { keys: keyRing(guest({ requestsPerMinute: 1 })) });
    for (let count = 0; count < 3; count++) {
      const response = await fetch(`${api.url}/v1/models`, { headers: bearer() });
      expect([response.status, rateLimits(response)['remaining-requests']]).toEqual([200, '1']);
    }
  });

  it('are spent by requests that are wrong too, and told in errors', async () => {
    const api = await startTestApi(undefined, { keys: keyRing(guest({ requestsPerMinute: 5 })) });
    const wrong = await chat(api, { messages: 'none' });
    expect([wrong.status, rateLimits(wrong)['remaining-requests']]).toEqual([400, '4']);
  });

  it('of one key are no other key’s', async () => {
    const other = hashedKey('other', 'mn-other');
    const keys = keyRing(guest({ requestsPerMinute: 1 }), { ...other, requestsPerMinute: 1 });
    const api = await startTestApi(undefined, { keys });
    expect((await chat(api)).status).toBe(200);
    expect((await chat(api)).status).toBe(429);
    expect((await chat(api, {}, 'mn-other')).status).toBe(200);
  });

  it('are unbounded for a key without limits, of which no header speaks', async () => {
    const api = await startTestApi(undefined, { keys: keyRing(guest()) });
    for (let count = 0; count < 5; count++) {
      const response = await chat(api);
      expect([response.status, rateLimits(response)]).toEqual([200, {}]);
    }
  });

  it('are what the official client sees: a RateLimitError, or an answer after the wait', async () => {
    const clock = new ManualClock();
    const api = await startTestApi(undefined, { clock, keys: keyRing(guest({ requestsPerMinute: 1 })) });
    const client = (maxRetries: number) =>
      new OpenAI({ baseURL: `${api.url}/v1`, apiKey: secret, maxRetries });
    await client(0).chat.completions.create(hello);
    const error = await client(0)
      .chat.completions.create(hello)
      .catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(RateLimitError);
    expect(error).toMatchObject({ code: 'rate_limit_exceeded' });
    await clock.advance(59_000);
    const startedMs = systemClock.monotonicMs();
    const refusals = vi.spyOn(clock, 'monotonicMs');
    const again = client(1).chat.completions.create(hello);
    await vi.waitFor(() => expect(refusals).toHaveBeenCalled(), { interval: 5 });
    await clock.advance(1000);
    expect((await again).choices[0]?.message.content).toBe('Hello world');
    expect(systemClock.monotonicMs() - startedMs).toBeGreaterThan(900);
  });
});

describe('tokens', () => {
  it('are charged when the answer is known, and the next request waits', async () => {
    const clock = new ManualClock();
    const api = await startTestApi(answerWithUsage({ prompt: 60, cached: 10, completion: 90 }), {
      clock,
      keys: keyRing(guest({ tokensPerMinute: 100 })),
    });
    const first = await chat(api);
    expect(first.status).toBe(200);
    expect(rateLimits(first)).toEqual({
      'limit-tokens': '100',
      'remaining-tokens': '0',
      'reset-tokens': '1m30s',
    });
    const second = await chat(api);
    expect([second.status, second.headers.get('retry-after')]).toEqual([429, '31']);
    expect(rateLimits(second)).toEqual(rateLimits(first));
    await clock.advance(30_600);
    expect((await chat(api)).status).toBe(200);
  });

  it('of a stream are charged at its end; its headers tell of the time before', async () => {
    const api = await startTestApi(answerWithUsage({ prompt: 60, cached: 0, completion: 90 }), {
      clock: new ManualClock(),
      keys: keyRing(guest({ tokensPerMinute: 100 })),
    });
    const stream = await chat(api, { stream: true });
    expect(rateLimits(stream)['remaining-tokens']).toBe('100');
    expect(await stream.text()).toContain('[DONE]');
    expect((await chat(api)).status).toBe(429);
  });

  it('of an answer that broke off are those that were seen', async () => {
    const clock = new ManualClock();
    const keys = keyRing(guest({ tokensPerMinute: 10 }));
    const api = await startTestApi(
      () => [
        accepted,
        { type: 'delta', index: 0, text: 'abc', tokenIds: [1, 2, 3] },
        { type: 'delta', index: 0, text: 'd' },
      ],
      { clock, keys },
    );
    await chat(api);
    const models = await fetch(`${api.url}/v1/models`, { headers: bearer() });
    expect(rateLimits(models)['remaining-tokens']).toBe('6');
  });

  it('of a day that are used up are not worth trying again for, and come back little by little', async () => {
    const clock = new ManualClock();
    const api = await startTestApi(answerWithUsage({ prompt: 0, cached: 0, completion: 24 }), {
      clock,
      keys: keyRing(guest({ tokensPerDay: 24 })),
    });
    await chat(api);
    const refused = await chat(api);
    expect([
      refused.status,
      refused.headers.get('retry-after'),
      refused.headers.get('x-should-retry'),
    ]).toEqual([429, '60', 'false']);
    expect(rateLimits(refused)['reset-tokens']).toBe('24h0m0s');
    await clock.advance(3_600_000);
    expect((await chat(api)).status).toBe(200);
  });

  it('leave the headers of a full queue to tell of the key', async () => {
    const api = await startTestApi(
      () => [
        {
          type: 'error',
          code: 'queue_full',
          message: 'Full.',
          retryable: true,
          phase: 'before-output',
          retryAfterSeconds: 2,
        },
      ],
      { keys: keyRing(guest({ requestsPerMinute: 5 })) },
    );
    const full = await chat(api);
    expect([full.status, full.headers.get('retry-after'), rateLimits(full)['remaining-requests']]).toEqual([
      429,
      '2',
      '4',
    ]);
  });
});

describe('a key made anew under an old name', () => {
  it('owes nothing for the old one', async () => {
    let key = guest({ requestsPerMinute: 1 });
    const api = await startTestApi(() => textAnswer('Hi'), { keys: { current: async () => [key] } });
    await chat(api);
    expect((await chat(api)).status).toBe(429);
    key = { ...hashedKey('guest', 'mn-second'), requestsPerMinute: 1 };
    expect((await chat(api, {}, 'mn-second')).status).toBe(200);
  });
});

describe('durations', () => {
  it('are written as OpenAI writes them', () => {
    expect([0, 1, 1000, 59_001, 360_000, 3_600_000, 86_399_000].map(durationText)).toEqual([
      '0s',
      '1s',
      '1s',
      '1m0s',
      '6m0s',
      '1h0m0s',
      '23h59m59s',
    ]);
  });
});
