import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { readHubSettings } from '../../../src/models/hub-settings.ts';

let home: string;

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'meshnode-hf-'));
  for (const name of [
    'HF_ENDPOINT',
    'HF_TOKEN',
    'HF_TOKEN_PATH',
    'HF_HUB_CACHE',
    'HUGGINGFACE_HUB_CACHE',
    'HF_HUB_OFFLINE',
  ]) {
    vi.stubEnv(name, undefined);
  }
  vi.stubEnv('HF_HOME', home);
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(home, { recursive: true });
});

test('the defaults are the public hub, no token, and the cache below HF_HOME', async () => {
  expect(await readHubSettings()).toEqual({
    endpoint: 'https://huggingface.co',
    cacheFolder: join(home, 'hub'),
    offline: false,
  });
});

test('the token of a login is found, and HF_TOKEN comes before it', async () => {
  await writeFile(join(home, 'token'), 'hf_file\n');
  expect(await readHubSettings()).toMatchObject({ token: 'hf_file' });
  vi.stubEnv('HF_TOKEN', 'hf_env');
  expect(await readHubSettings()).toMatchObject({ token: 'hf_env' });
});

test('an endpoint keeps its path and loses its last slash', async () => {
  vi.stubEnv('HF_ENDPOINT', 'https://mirror.example/hub/');
  vi.stubEnv('HF_HUB_OFFLINE', '1');
  vi.stubEnv('HF_HUB_CACHE', '/cache');
  expect(await readHubSettings()).toMatchObject({
    endpoint: 'https://mirror.example/hub',
    offline: true,
    cacheFolder: '/cache',
  });
});

test.each([
  ['HF_ENDPOINT', 'mirror'],
  ['HF_ENDPOINT', 'file:///etc'],
  ['HF_TOKEN', 'hf_a\nx-evil: 1'],
])('%s = %j is refused without being repeated', async (name, value) => {
  vi.stubEnv(name, value);
  const error = await readHubSettings().catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: 'config_invalid' });
  expect(String(error)).not.toContain(value);
});
