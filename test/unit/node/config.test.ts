// The configuration: who wins, what is refused and where, what is explained and how the file is changed.
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Flags, loadConfig, resolveConfig } from '../../../src/node/config.ts';
import { editedToml, setInConfigFile } from '../../../src/node/config-edit.ts';
import { explainSetting } from '../../../src/node/config-explain.ts';
import {
  envNameOf,
  fileKeyOf,
  flagOf,
  type SettingKey,
  settingKeys,
  settingOf,
} from '../../../src/node/config-schema.ts';
import { nodePaths } from '../../../src/node/paths.ts';
import { rejectionOf, thrownBy } from '../../support/thrown.ts';

const file = (text: string) => ({ path: '/etc/config.toml', text });

/** For each setting a value as flag, variable and file have it, and what comes of it. */
const samples: Record<SettingKey, { text: string; toml: string; value: unknown }> = {
  model: { text: 'demo, ./a.gguf', toml: '["demo", "./a.gguf"]', value: ['demo', './a.gguf'] },
  join: { text: 'mesh1abc', toml: '"mesh1abc"', value: 'mesh1abc' },
  joinFile: { text: './token', toml: '"./token"', value: './token' },
  client: { text: 'true', toml: 'true', value: true },
  listenPort: { text: '9400', toml: '9400', value: 9400 },
  bind: { text: '::1', toml: '"::1"', value: '::1' },
  transport: { text: 'tcp', toml: '"tcp"', value: 'tcp' },
  announce: {
    text: '/dns4/a.org/tcp/1,/ip4/192.0.2.1/tcp/2',
    toml: '["/dns4/a.org/tcp/1", "/ip4/192.0.2.1/tcp/2"]',
    value: ['/dns4/a.org/tcp/1', '/ip4/192.0.2.1/tcp/2'],
  },
  host: { text: '127.0.0.2', toml: '"127.0.0.2"', value: '127.0.0.2' },
  port: { text: '8080', toml: '8080', value: 8080 },
  consolePort: { text: '0', toml: '0', value: 0 },
  headless: { text: 'true', toml: 'true', value: true },
  engine: { text: 'embedded', toml: '"embedded"', value: 'embedded' },
  llamaServer: { text: '/opt/llama-server', toml: '"/opt/llama-server"', value: '/opt/llama-server' },
  attach: {
    text: 'http://a:1,http://b:2',
    toml: '["http://a:1", "http://b:2"]',
    value: ['http://a:1', 'http://b:2'],
  },
  attachKeyEnv: { text: 'MY_KEY', toml: '"MY_KEY"', value: 'MY_KEY' },
  maxVram: { text: '8GiB', toml: '"8GiB"', value: 8 * 2 ** 30 },
  ctx: { text: '8192', toml: '8192', value: 8192 },
  parallel: { text: '2', toml: '2', value: 2 },
  threads: { text: '3', toml: '3', value: 3 },
  name: { text: 'attic', toml: '"attic"', value: 'attic' },
  dataDir: { text: '/srv/node', toml: '', value: '/srv/node' },
  logLevel: { text: 'debug', toml: '"debug"', value: 'debug' },
  apiKeys: { text: 'k'.repeat(16), toml: `["${'k'.repeat(16)}"]`, value: ['k'.repeat(16)] },
  allowedOrigins: { text: 'https://a.org', toml: '["https://a.org"]', value: ['https://a.org'] },
  allowedHosts: { text: 'box.local', toml: '["box.local"]', value: ['box.local'] },
};

describe('every setting', () => {
  it.each(settingKeys)('%s has a default, and a value from the file, the environment and a flag', (key) => {
    const { text, toml, value } = samples[key];
    const read = (flags: Flags, environment: Record<string, string>, content = ''): unknown =>
      resolveConfig(flags, environment, file(content)).config[key];
    expect(read({}, {})).toEqual(settingOf(key).fallback);
    expect(read({}, { [envNameOf(key)]: text })).toEqual(value);
    expect(read({ [key]: text }, {})).toEqual(value);
    if (settingOf(key).notInFile !== true) {
      expect(read({}, {}, `${fileKeyOf(key)} = ${toml}`)).toEqual(value);
    }
  });

  it('has the names that people expect', () => {
    expect(fileKeyOf('consolePort')).toBe('console_port');
    expect(envNameOf('consolePort')).toBe('MESHNODE_CONSOLE_PORT');
    expect(flagOf('consolePort')).toBe('--console-port');
    expect(flagOf('attachKeyEnv')).toBe('--attach-key');
    expect([envNameOf('dataDir'), envNameOf('apiKeys')]).toEqual(['MESHNODE_HOME', 'MESHNODE_API_KEY']);
  });
});

describe('precedence', () => {
  const toml = 'port = 1003';
  const environment = { MESHNODE_PORT: '1002' };
  const flags = { port: '1001' };

  it.each([
    {
      said: 'flag, environment and file',
      sources: [flags, environment, file(toml)],
      port: 1001,
      winner: 'flag',
    },
    {
      said: 'environment and file',
      sources: [{}, environment, file(toml)],
      port: 1002,
      winner: 'environment',
    },
    { said: 'flag and file', sources: [flags, {}, file(toml)], port: 1001, winner: 'flag' },
    { said: 'only the file', sources: [{}, {}, file(toml)], port: 1003, winner: 'file' },
    { said: 'nobody', sources: [{}, {}, undefined], port: 9337, winner: 'default' },
  ] as const)('with $said: $winner wins', ({ sources: [flag, env, content], port, winner }) => {
    const resolved = resolveConfig(flag, env, content);
    expect(resolved.config.port).toBe(port);
    expect(explainSetting(resolved, 'port').source).toBe(winner);
  });

  it('takes an empty variable for none', () => {
    expect(resolveConfig({}, { MESHNODE_PORT: '' }, undefined).config.port).toBe(9337);
  });

  it('takes repeated flags as a list that replaces that of the file', () => {
    const { config } = resolveConfig({ model: ['a', 'b'] }, {}, file('model = ["c"]'));
    expect(config.model).toEqual(['a', 'b']);
  });
});

describe('explaining', () => {
  it('says who won, where, and what the others said', () => {
    const resolved = resolveConfig({ port: '1001' }, { MESHNODE_PORT: '1002' }, file('\nport = 1003'));
    expect(explainSetting(resolved, 'port')).toMatchObject({
      key: 'port',
      value: 1001,
      source: 'flag',
      where: '--port',
      overruled: [
        { source: 'environment', where: 'MESHNODE_PORT', value: 1002 },
        { source: 'file', where: '/etc/config.toml:2', value: 1003 },
        { source: 'default', value: 9337 },
      ],
      setBy: { flag: '--port', environment: 'MESHNODE_PORT', file: 'port' },
    });
  });

  it('knows a key by each of its spellings', () => {
    const resolved = resolveConfig({}, {}, undefined);
    for (const written of ['console_port', 'console-port', 'consolePort']) {
      expect(explainSetting(resolved, written).key).toBe('console_port');
    }
    expect(thrownBy(() => explainSetting(resolved, 'colour')).code).toBe('usage');
  });

  it('never shows a secret', () => {
    const secret = 'a-very-secret-key-indeed';
    const resolved = resolveConfig({}, { MESHNODE_API_KEY: secret }, file(`api_keys = ["${secret}2"]`));
    expect(JSON.stringify(explainSetting(resolved, 'api_keys'))).not.toContain(secret);
  });
});

describe('a bad configuration', () => {
  it.each([
    { text: 'port = 1\nhost = ', line: 2 },
    { text: '# fine\n\nport = "many"', line: 3 },
    { text: 'port = 70000', line: 1 },
    { text: 'name = "a"\n"engine" = "steam"', line: 2 },
    { text: 'model = ["demo", ""]', line: 1 },
    { text: 'model = [\n  "port = 1",\n]\nport = -1', line: 4 },
    { text: 'max_vram = "8 bananas"', line: 1 },
    { text: 'attach = ["ftp://x"]', line: 1 },
    { text: 'allowed_origins = ["https://a.org/path"]', line: 1 },
    { text: '\n[port]\nx = 1', line: 2 },
  ])('is refused with file and line: $text', ({ text, line }) => {
    const error = thrownBy(() => resolveConfig({}, {}, file(text)));
    expect(error.code).toBe('config_invalid');
    expect(error.message).toMatch(new RegExp(`^/etc/config\\.toml:${line}: `));
  });

  it('is refused by the name of the variable or the flag', () => {
    const inEnvironment = thrownBy(() => resolveConfig({}, { MESHNODE_CTX: 'big' }, undefined));
    expect([inEnvironment.code, inEnvironment.message]).toEqual([
      'config_invalid',
      expect.stringMatching(/^MESHNODE_CTX: /),
    ]);
    const inFlag = thrownBy(() => resolveConfig({ ctx: 'big' }, {}, undefined));
    expect([inFlag.code, inFlag.message]).toEqual(['usage', expect.stringMatching(/^--ctx: /)]);
  });

  it('is only warned of if a key is unknown, with the likely one', () => {
    const { warnings, config } = resolveConfig({}, {}, file('consol_port = 1\n\n[mesh]\nname = "x"'));
    expect(warnings).toHaveLength(2);
    expect(warnings[0]).toContain("/etc/config.toml:1: there is no setting 'consol_port'");
    expect(warnings[0]).toContain("'console_port'");
    expect(warnings[1]).toContain('/etc/config.toml:3');
    expect(config.consolePort).toBe(3131);
  });

  it('is only warned of if it moves the folder that it lies in', () => {
    const { warnings, config } = resolveConfig({}, {}, file('data_dir = "/elsewhere"'));
    expect(warnings[0]).toContain('--data-dir');
    expect(config.dataDir).toBeUndefined();
  });
});

describe('the paths', () => {
  it('all lie below the data folder if one is given', () => {
    expect(nodePaths('/srv/node')).toEqual({
      configFile: '/srv/node/config.toml',
      dataDir: '/srv/node',
    });
  });

  it('are those of the platform otherwise', () => {
    const { configFile, dataDir } = nodePaths();
    for (const path of [configFile, dataDir]) {
      expect(path).toMatch(/meshnode/);
    }
  });
});

describe('the configuration file', () => {
  let home: string;
  let path: string;

  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'meshnode-config-'));
    path = join(home, 'config.toml');
  });
  afterEach(() => rm(home, { recursive: true }));

  it('need not exist', async () => {
    const { config, paths } = await loadConfig({}, { MESHNODE_HOME: home });
    expect(config.port).toBe(9337);
    expect(paths.configFile).toBe(path);
  });

  it('is found in the data folder that a flag or the environment names', async () => {
    await writeFile(path, 'port = 1234');
    expect((await loadConfig({ dataDir: home }, {})).config.port).toBe(1234);
    expect((await loadConfig({}, { MESHNODE_HOME: home })).config.port).toBe(1234);
  });

  it('is made by the first setting, for its owner only', async () => {
    const fresh = join(home, 'deeper', 'config.toml');
    await setInConfigFile(fresh, 'model', 'demo,demo-moe');
    expect(await readFile(fresh, 'utf8')).toBe('model = [ "demo", "demo-moe" ]\n');
    expect((await stat(fresh)).mode & 0o777).toBe(0o600);
  });

  it('keeps its comments and its order', async () => {
    await writeFile(
      path,
      '# mine\nport = 1 # low\n\n# list\nmodel = [\n  "a", # one\n  "b",\n]\nname = "x"\n',
    );
    await setInConfigFile(path, 'model', 'c');
    await setInConfigFile(path, 'port', '2');
    expect(await readFile(path, 'utf8')).toBe('# mine\nport = 2\n\n# list\nmodel = [ "c" ]\nname = "x"\n');
  });

  it('is left alone by a value that the setting may not have', async () => {
    await writeFile(path, 'port = 1\n');
    const error = await rejectionOf(setInConfigFile(path, 'port', 'high'));
    expect(error.code).toBe('config_invalid');
    expect(await readFile(path, 'utf8')).toBe('port = 1\n');
    expect((await rejectionOf(setInConfigFile(path, 'colour', 'red'))).code).toBe('usage');
    expect((await rejectionOf(setInConfigFile(path, 'data_dir', '/x'))).code).toBe('usage');
  });

  it('is not touched while it is broken', async () => {
    await writeFile(path, 'port = \n');
    expect((await rejectionOf(setInConfigFile(path, 'port', '2'))).code).toBe('config_invalid');
    expect(await readFile(path, 'utf8')).toBe('port = \n');
  });

  it('gets a new setting before its first table', () => {
    expect(editedToml('a = 1\n[later]\nb = 2\n', 'port', 7)).toBe('a = 1\nport = 7\n[later]\nb = 2\n');
  });
});
