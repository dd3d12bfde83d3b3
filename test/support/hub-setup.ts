// A hub, an empty cache and a client of both, for one test.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DownloadOptions, DownloadProgress } from '../../src/models/download-progress.ts';
import type { DownloadLimits } from '../../src/models/download-retry.ts';
import { type CachedModel, Hub, type HubComponents } from '../../src/models/hub.ts';
import { HubCache } from '../../src/models/hub-cache.ts';
import { type HubReference, parseReference } from '../../src/models/reference.ts';
import { systemClock } from '../../src/util/clock.ts';
import { downloadLimits } from '../../src/util/limits/models.ts';
import { silentLogger } from '../../src/util/logging.ts';
import { seededRandom } from '../../src/util/random.ts';
import { TestHub } from './test-hub.ts';

/** Real bounds with waits short enough for a test. */
export const shortLimits: DownloadLimits = {
  ...downloadLimits,
  tries: 3,
  backoffMs: 2,
  backoffMaxMs: 4,
  retryAfterMaxMs: 4,
  claimPollMs: 5,
  progressMs: 0,
};

export interface HubSetup {
  readonly server: TestHub;
  readonly folder: string;
  readonly cache: HubCache;
  /** Another client of the same cache. */
  client(components?: Partial<HubComponents> & { token?: string; offline?: boolean }): Hub;
  download(reference: string, hub?: Hub, options?: Partial<DownloadOptions>): Promise<CachedModel>;
  readonly progress: DownloadProgress[];
  close(): Promise<void>;
}

export async function setUpHub(): Promise<HubSetup> {
  const server = await TestHub.start();
  const folder = await mkdtemp(join(tmpdir(), 'meshnode-hub-'));
  const cache = new HubCache(join(folder, 'hub'));
  const progress: DownloadProgress[] = [];
  const client: HubSetup['client'] = ({ token, offline = false, ...components } = {}) =>
    new Hub({
      clock: systemClock,
      random: seededRandom(1),
      log: silentLogger,
      limits: shortLimits,
      cache,
      freeBytes: async () => 1e12,
      ...components,
      settings: {
        endpoint: server.endpoint,
        cacheFolder: cache.folder,
        offline,
        ...(token === undefined ? {} : { token }),
      },
    });
  return {
    server,
    folder,
    cache,
    client,
    progress,
    download: (reference, hub = client(), options = {}) =>
      hub.download(hubReference(reference), {
        signal: new AbortController().signal,
        onProgress: (each) => progress.push(each),
        ...options,
      }),
    close: async () => {
      await server.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export function hubReference(text: string): HubReference {
  const reference = parseReference(text, []);
  if (reference.kind !== 'hub') {
    throw new TypeError(`${text} is no hub reference`);
  }
  return reference;
}

/** Bytes that no offset shares with another: a misplaced chunk is always seen. */
export function modelBytes(seed: number, sizeBytes: number): Buffer {
  return Buffer.from(seededRandom(seed).bytes(sizeBytes));
}
