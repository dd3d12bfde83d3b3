// Who may talk to a listener: the Host header against DNS rebinding, the Origin header against foreign
// web pages, CORS headers for the origins allowed, and API keys in constant time.
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { MeshnodeError } from '../util/errors.ts';
import { hostNameOf, isLoopbackHost } from './loopback.ts';

/** A key that may call. The key itself is never stored. */
export interface HashedKey {
  readonly name: string;
  /** Lower-case hex SHA-256 of the key. */
  readonly sha256: string;
}

/**
 * Refuses a request whose Host is not a name of this machine: a web page that made its own name resolve
 * to 127.0.0.1 sends that name. Browsers always send Host, so its absence is no danger.
 */
export function checkHost(headers: IncomingHttpHeaders, allowedHosts: readonly string[]): void {
  if (headers.host === undefined) {
    return;
  }
  const name = hostNameOf(headers.host);
  if (name === undefined || !(isLoopbackHost(name) || allowedHosts.includes(name))) {
    throw new MeshnodeError('forbidden_origin', 'The Host header names another machine than this one.');
  }
}

/** Refuses a browser's request made by a page that is neither of this machine nor configured. */
export function checkOrigin(headers: IncomingHttpHeaders, allowedOrigins: readonly string[]): void {
  const { origin } = headers;
  if (origin !== undefined && !isAllowedOrigin(origin, allowedOrigins)) {
    throw new MeshnodeError('forbidden_origin', 'Web pages of this origin may not call this node.');
  }
}

function isAllowedOrigin(origin: string, allowedOrigins: readonly string[]): boolean {
  if (allowedOrigins.includes(origin)) {
    return true;
  }
  const url = URL.parse(origin);
  return (
    url !== null &&
    (url.protocol === 'http:' || url.protocol === 'https:') &&
    url.origin === origin &&
    isLoopbackHost(url.hostname)
  );
}

/** Response headers that scripts of an allowed origin may read. */
const exposedHeaders = [
  'x-request-id',
  'x-meshnode-peer',
  'x-meshnode-attempts',
  'x-meshnode-route',
  'x-meshnode-ignored',
  'x-should-retry',
  'retry-after',
  'x-ratelimit-limit-requests',
  'x-ratelimit-remaining-requests',
  'x-ratelimit-reset-requests',
  'x-ratelimit-limit-tokens',
  'x-ratelimit-remaining-tokens',
  'x-ratelimit-reset-tokens',
  'openai-processing-ms',
].join(', ');

/** Lets the page of an origin that `checkOrigin` has passed read the answer. Any other gets no header. */
export function allowCrossOrigin(request: IncomingMessage, response: ServerResponse): void {
  response.setHeader('vary', 'origin');
  if (request.headers.origin !== undefined) {
    response.setHeader('access-control-allow-origin', request.headers.origin);
    response.setHeader('access-control-expose-headers', exposedHeaders);
  }
}

export function isPreflight({ method, headers }: IncomingMessage): boolean {
  return (
    method === 'OPTIONS' &&
    headers.origin !== undefined &&
    headers['access-control-request-method'] !== undefined
  );
}

/** Answers the question of a browser whether a page may send a request with these methods. */
export function answerPreflight(request: IncomingMessage, response: ServerResponse, allow: string): void {
  const wanted = request.headers['access-control-request-headers'];
  response.writeHead(204, {
    'access-control-allow-methods': allow,
    'access-control-allow-headers': wanted ?? 'authorization, content-type, x-api-key',
    'access-control-max-age': '600',
    ...(request.headers['access-control-request-private-network'] === 'true'
      ? { 'access-control-allow-private-network': 'true' }
      : {}),
  });
  response.end();
}

/** The key a client sent, as `Authorization: Bearer KEY` or `x-api-key: KEY`. */
export function presentedKey(headers: IncomingHttpHeaders): string | undefined {
  const bearer = /^bearer +(\S+) *$/i.exec(headers.authorization ?? '')?.[1];
  const apiKey = headers['x-api-key'];
  return bearer ?? (typeof apiKey === 'string' && apiKey !== '' ? apiKey : undefined);
}

export function hashedKey(name: string, key: string): HashedKey {
  return { name, sha256: createHash('sha256').update(key).digest('hex') };
}

/** The key that was presented. Every stored key is compared in full: the time tells nothing. */
export function findKey<Key extends HashedKey>(presented: string, keys: readonly Key[]): Key | undefined {
  const hash = createHash('sha256').update(presented).digest();
  let found: Key | undefined;
  for (const key of keys) {
    const stored = Buffer.from(key.sha256, 'hex');
    if (stored.length === hash.length && timingSafeEqual(stored, hash)) {
      found = key;
    }
  }
  return found;
}

/** Throws `invalid_api_key` unless one of the keys was presented. */
export function checkKey<Key extends HashedKey>(headers: IncomingHttpHeaders, keys: readonly Key[]): Key {
  const presented = presentedKey(headers);
  const found = presented === undefined ? undefined : findKey(presented, keys);
  if (found === undefined) {
    throw new MeshnodeError(
      'invalid_api_key',
      presented === undefined ? 'This node wants an API key.' : 'The API key is not one of this node.',
    );
  }
  return found;
}
