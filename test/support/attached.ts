// An attached server in one line: an HTTP double, the engine attached to it, and both gone after the test.
import { onTestFinished } from 'vitest';
import type { LoadedModel } from '../../src/engine/engine.ts';
import {
  type AttachedServer,
  type AttachOptions,
  attachOpenAiUrl,
} from '../../src/engine/openai-url/openai-url.ts';
import { systemClock } from '../../src/util/clock.ts';
import { silentLogger } from '../../src/util/logging.ts';
import { seededRandom } from '../../src/util/random.ts';
import { DoubleOpenAiServer, type DoubleServerKnobs } from './double-openai-server.ts';

export interface Attached {
  readonly server: DoubleOpenAiServer;
  readonly attached: AttachedServer;
  /** The first model of the server. */
  readonly model: LoadedModel;
}

/** Starts a double; it stops after the test. */
export async function startDouble(knobs: Partial<DoubleServerKnobs> = {}): Promise<DoubleOpenAiServer> {
  const server = new DoubleOpenAiServer(knobs);
  await server.start();
  onTestFinished(() => server.stop());
  return server;
}

/** Starts a double and attaches to it. */
export async function attachDouble(
  knobs: Partial<DoubleServerKnobs> = {},
  options: Partial<AttachOptions> = {},
): Promise<Attached> {
  const server = await startDouble(knobs);
  const attached = await attachTo(server.url, options);
  const [model] = attached.models();
  if (model === undefined) {
    throw new Error('the double lists no model');
  }
  return { server, attached, model };
}

/** Attaches to any URL; let go of after the test. */
export async function attachTo(url: string, options: Partial<AttachOptions> = {}): Promise<AttachedServer> {
  const attached = await attachOpenAiUrl({
    url,
    clock: systemClock,
    random: seededRandom(1),
    log: silentLogger,
    ...options,
  });
  onTestFinished(() => attached.close());
  return attached;
}

/** Resolves once `holds` does, which is looked at now and at every change of the server. */
export function onceServer(attached: AttachedServer, holds: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const check = (): void => {
      if (holds()) {
        stop();
        resolve();
      }
    };
    const stop = attached.onChange(check);
    check();
  });
}
