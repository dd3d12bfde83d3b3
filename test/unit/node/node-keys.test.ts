// The keys of a running node: from both sources, and as the file is now.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findKey } from '../../../src/http/guards.ts';
import { createKey, keyFilePath, revokeKey } from '../../../src/node/key-file.ts';
import { NodeKeys } from '../../../src/node/node-keys.ts';
import { nodeLimits } from '../../../src/util/limits/node.ts';
import { createLogger, silentLogger } from '../../../src/util/logging.ts';
import { systemRandom } from '../../../src/util/random.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { rejectionOf } from '../../support/thrown.ts';

let dataDir: string;
let clock: ManualClock;

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'meshnode-keys-'));
  clock = new ManualClock();
});
afterEach(() => rm(dataDir, { recursive: true }));

const open = (configured: string[] = [], log = silentLogger) =>
  NodeKeys.open(dataDir, configured, { clock, log });
const create = async (name: string, limits = {}) =>
  (await createKey(dataDir, name, limits, { clock, random: systemRandom })).key;
const revoke = (name: string) => revokeKey(dataDir, name, { clock });
const later = () => clock.advance(nodeLimits.keyFileLookMs);

describe('the keys of a node', () => {
  it('are none at all without configuration and file', async () => {
    expect(await (await open()).current()).toBeUndefined();
  });

  it('are those of the configuration, without limits, and those of the file, with theirs', async () => {
    const key = await create('laptop', { requestsPerMinute: 3 });
    const keys = (await (await open(['configured-1', 'configured-2'])).current()) ?? [];
    expect(findKey('configured-2', keys)).toEqual({ name: 'key-2', sha256: expect.any(String) });
    expect(findKey(key, keys)).toMatchObject({ name: 'laptop', requestsPerMinute: 3 });
    expect(keys).toHaveLength(3);
  });

  it('are noticed when they come and when they go', async () => {
    const keys = await open();
    const key = await create('laptop');
    await later();
    expect(findKey(key, (await keys.current()) ?? [])?.name).toBe('laptop');
    await revoke('laptop');
    await later();
    // Not undefined: nobody is let in instead of everybody.
    expect(await keys.current()).toEqual([]);
  });

  it('are not read again within a moment', async () => {
    const keys = await open();
    await keys.current();
    await create('laptop');
    expect(await keys.current()).toBeUndefined();
    await later();
    expect(await keys.current()).toHaveLength(1);
  });

  it('that were revoked long ago do not work once more', async () => {
    const key = await create('laptop');
    const keys = await open();
    expect(await keys.current()).toHaveLength(1);
    await revoke('laptop');
    await clock.advance(3_600_000);
    expect(findKey(key, (await keys.current()) ?? [])).toBeUndefined();
  });

  it('are none again when the owner deletes the file', async () => {
    await create('laptop');
    const keys = await open();
    await rm(keyFilePath(dataDir));
    await later();
    expect(await keys.current()).toBeUndefined();
  });
});

describe('a damaged file', () => {
  it('keeps a node from starting', async () => {
    await writeFile(keyFilePath(dataDir), '{');
    expect(await rejectionOf(open())).toMatchObject({ code: 'config_invalid' });
  });

  it('leaves a running node the keys it had, is logged once, and heals', async () => {
    const lines: string[] = [];
    const log = createLogger('info', { write: (line: string) => lines.push(line) }, { pretty: false });
    const key = await create('laptop');
    const keys = await open([], log);
    await writeFile(keyFilePath(dataDir), '{');
    for (let look = 0; look < 3; look++) {
      await later();
      expect(findKey(key, (await keys.current()) ?? [])?.name).toBe('laptop');
    }
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain('api-keys.json is damaged');
    await writeFile(keyFilePath(dataDir), '{"keys":[]}');
    await later();
    expect(await keys.current()).toEqual([]);
  });
});
