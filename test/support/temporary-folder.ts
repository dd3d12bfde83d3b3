// A folder of its own for each test file, removed when the file's tests are over.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';

/** Makes the folder; call it at the top of a test file. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'meshnode-test-'));
  afterAll(() => rm(folder, { recursive: true, force: true }));
  return folder;
}
