import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { checkHost, checkKey, checkOrigin, findKey, presentedKey } from '../../../src/http/guards.ts';
import { hostNameOf, isLoopbackHost, urlOf } from '../../../src/http/loopback.ts';

function codeOf(run: () => unknown): unknown {
  try {
    run();
    return 'passed';
  } catch (error) {
    return error instanceof Error && 'code' in error ? error.code : error;
  }
}

describe('the Host header', () => {
  it.each([
    'localhost',
    'LOCALHOST:9337',
    '127.0.0.1',
    '127.0.0.1:80',
    '127.1.2.3:9337',
    '[::1]',
    '[::1]:9337',
    'node.home:9337',
  ])('passes %s', (host) => {
    expect(codeOf(() => checkHost({ host }, ['node.home']))).toBe('passed');
  });

  it.each([
    'evil.example',
    'localhost.evil.example',
    '127.0.0.1.evil.example:9337',
    '0.0.0.0:9337',
    '[::]:9337',
    '192.168.1.5',
    'node.home.evil.example',
    '',
    'localhost:9337:1',
    'user@localhost',
  ])('refuses %j', (host) => {
    expect(codeOf(() => checkHost({ host }, ['node.home']))).toBe('forbidden_origin');
  });

  it('may be absent: then no browser sent it', () => {
    expect(codeOf(() => checkHost({}, []))).toBe('passed');
  });
});

describe('the Origin header', () => {
  it.each([
    undefined,
    'http://localhost:3000',
    'https://127.0.0.1',
    'http://[::1]:8080',
    'https://chat.example.org',
    'vscode-webview://panel',
  ])('passes %s', (origin) => {
    const headers = origin === undefined ? {} : { origin };
    const allowed = ['https://chat.example.org', 'vscode-webview://panel'];
    expect(codeOf(() => checkOrigin(headers, allowed))).toBe('passed');
  });

  it.each([
    'null',
    'https://evil.example',
    'http://localhost.evil.example',
    'http://chat.example.org',
    'https://chat.example.org:444',
    'file://',
    'http://localhost:3000/path',
    '*',
    '',
  ])('refuses %j', (origin) => {
    expect(codeOf(() => checkOrigin({ origin }, ['https://chat.example.org']))).toBe('forbidden_origin');
  });
});

describe('API keys', () => {
  const hashed = (name: string, key: string) => ({
    name,
    sha256: createHash('sha256').update(key).digest('hex'),
  });
  const keys = [hashed('laptop', 'secret-1'), hashed('ci', 'secret-2')];

  it('are read from both headers', () => {
    expect(presentedKey({ authorization: 'Bearer secret-1' })).toBe('secret-1');
    expect(presentedKey({ authorization: 'bearer  secret-1 ' })).toBe('secret-1');
    expect(presentedKey({ 'x-api-key': 'secret-2' })).toBe('secret-2');
    expect(presentedKey({ authorization: 'Basic c2VjcmV0' })).toBeUndefined();
    expect(presentedKey({ 'x-api-key': '' })).toBeUndefined();
  });

  it('are found by their hash, and only whole', () => {
    expect(findKey('secret-2', keys)?.name).toBe('ci');
    expect(findKey('secret-', keys)).toBeUndefined();
    expect(findKey(keys[0]?.sha256 ?? '', keys)).toBeUndefined();
    expect(findKey('x', [{ name: 'broken', sha256: 'zz' }])).toBeUndefined();
  });

  it('are demanded with a message that does not repeat them', () => {
    expect(codeOf(() => checkKey({}, keys))).toBe('invalid_api_key');
    expect(() => checkKey({ 'x-api-key': 'wrong-one' }, keys)).toThrowError(/^(?!.*wrong-one).*$/);
    expect(checkKey({ 'x-api-key': 'secret-1' }, keys).name).toBe('laptop');
  });
});

describe('host names', () => {
  it('know this machine', () => {
    expect(['localhost', '127.0.0.1', '::1', '[::1]'].every(isLoopbackHost)).toBe(true);
    expect(['0.0.0.0', '::', '', 'example.org', '1270.0.0.1', '127.0.0'].some(isLoopbackHost)).toBe(false);
  });

  it('lose their port', () => {
    expect(['A.b:1', '[::1]:2', 'a b', 'a/b'].map(hostNameOf)).toEqual([
      'a.b',
      '[::1]',
      undefined,
      undefined,
    ]);
  });

  it('become URLs that can be called', () => {
    const hosts = ['127.0.0.1', 'localhost', '0.0.0.0', '::', '::1'];
    expect(hosts.map((host) => urlOf(host, 9))).toEqual([
      'http://127.0.0.1:9',
      'http://localhost:9',
      'http://127.0.0.1:9',
      'http://[::1]:9',
      'http://[::1]:9',
    ]);
  });
});
