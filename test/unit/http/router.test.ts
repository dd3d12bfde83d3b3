import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { pathOf, Router } from '../../../src/http/router.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';

const router = new Router([
  { method: 'GET', template: '/', target: 'root' },
  { method: 'GET', template: '/v1/models', target: 'models' },
  { method: 'GET', template: '/v1/models/{id}', target: 'model' },
  { method: 'DELETE', template: '/v1/models/{id}', target: 'delete' },
  { method: 'POST', template: '/api/models/{id}/unload', target: 'unload' },
]);

function failureOf(run: () => unknown): MeshnodeError {
  try {
    run();
  } catch (thrown) {
    if (thrown instanceof MeshnodeError) {
      return thrown;
    }
  }
  throw new Error('no MeshnodeError was thrown');
}

describe('the router', () => {
  it.each([
    ['GET', '/', 'root', {}],
    ['GET', '/v1/models', 'models', {}],
    ['GET', '/v1/models/', 'models', {}],
    ['GET', '/v1/models?limit=3', 'models', {}],
    ['GET', 'http://localhost:9337/v1/models?x=/y', 'models', {}],
    ['HEAD', '/v1/models', 'models', {}],
    ['GET', '/v1/models/demo', 'model', { id: 'demo' }],
    ['GET', '/v1/models/org/repo:Q4', 'model', { id: 'org/repo:Q4' }],
    ['GET', '/v1/models/org%2Frepo%3AQ4', 'model', { id: 'org/repo:Q4' }],
    ['DELETE', '/v1/models/a%20b', 'delete', { id: 'a b' }],
    ['POST', '/api/models/org/repo/unload', 'unload', { id: 'org/repo' }],
  ])('answers %s %s with %s', (method, url, target, params) => {
    const match = router.match(method, url);
    expect([match.route.target, match.params]).toEqual([target, params]);
  });

  it.each(['/v1', '/v1/model', '//v1/models', '/v2/models', '/V1/models', '*', ''])(
    'knows nothing at %j',
    (url) => {
      expect(failureOf(() => router.match('GET', url)).code).toBe('unknown_url');
    },
  );

  it('names the methods of a path that is asked with another', () => {
    const error = failureOf(() => router.match('POST', '/v1/models/demo'));
    expect([error.code, error.details.data]).toEqual([
      'method_not_allowed',
      { allow: 'GET, HEAD, DELETE, OPTIONS' },
    ]);
    expect(router.allow('/api/models/x/unload')).toBe('POST, OPTIONS');
  });

  it('refuses names that are endless or badly encoded', () => {
    expect(failureOf(() => router.match('GET', `/v1/models/${'x'.repeat(5_000)}`)).code).toBe('unknown_url');
    expect(failureOf(() => router.match('GET', '/v1/models/%ff')).code).toBe('unknown_url');
  });

  it('gives back every name that was percent-encoded', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 50 }), (name) => {
        const path = `/v1/models/${encodeURIComponent(name)}`;
        expect(router.match('GET', path).params).toEqual({ id: name });
      }),
    );
  });

  it('never fails with anything but its two errors', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (method, url) => {
        try {
          router.match(method, url);
        } catch (error) {
          expect(error).toBeInstanceOf(MeshnodeError);
        }
      }),
    );
  });

  it('takes the path without query, fragment and trailing slash', () => {
    expect(['/a?b#c', '/a#c?b', '/a/', '/', '/?x'].map(pathOf)).toEqual(['/a', '/a', '/a', '/', '/']);
  });
});
