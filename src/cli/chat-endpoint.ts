// Where `meshnode run` chats: the running node, or one of our own that lives as long as the chat. Both are
// asked for the model, and waited for, in the same way.
import type { ModelView, NodeStatus } from '../console/status.ts';
import { catalogueNames } from '../models/catalogue.ts';
import { parseReference } from '../models/reference.ts';
import { absolutePath } from '../models/resolve-model.ts';
import type { LoadedConfig } from '../node/config.ts';
import type { RunningNode } from '../node/node.ts';
import { sleep } from '../util/clock.ts';
import { isErrorCode, MeshnodeError } from '../util/errors.ts';
import { createLogger } from '../util/logging.ts';
import type { CommandContext } from './command-context.ts';
import { formatBar } from './format.ts';
import { LiveRegion } from './live-region.ts';
import { NodeClient, runningNode } from './node-client.ts';

export interface ChatEndpoint {
  /** E.g. `http://127.0.0.1:9337/v1`. */
  readonly apiUrl: string;
  /** The token of the node's data folder. */
  readonly token: string;
  /** Name to ask for. */
  readonly model: string;
  /** Stops the node if it is our own. */
  close(): Promise<void>;
}

/**
 * Resolves once the model that `reference` means is ready. Rejects with what a node refuses to start with,
 * `model_ref_invalid`, the code with which the model failed, or the reason of the interruption.
 */
export async function openChatEndpoint(
  context: CommandContext,
  loaded: LoadedConfig,
  reference: string,
): Promise<ChatEndpoint> {
  const live = new LiveRegion(context.output);
  try {
    const running = await runningNode(loaded.paths.dataDir);
    return running === undefined
      ? await startOwn(context, loaded, reference, live)
      : { ...(await modelReady(context, running, reference, live)), close: async () => {} };
  } finally {
    live.close();
  }
}

async function startOwn(
  context: CommandContext,
  { config, paths: { dataDir } }: LoadedConfig,
  reference: string,
  live: LiveRegion,
): Promise<ChatEndpoint> {
  // What is no reference is said before anything is started.
  parseReference(reference, catalogueNames);
  const own = {
    ...config,
    model: [],
    attach: [],
    host: '127.0.0.1',
    port: 0,
    consolePort: 0,
    headless: false,
  };
  const node = await startQuietly(context, { config: own, dataDir });
  const close = (): Promise<void> => node.stop({ drainMs: 0 });
  try {
    return { ...(await modelReady(context, await NodeClient.find(dataDir), reference, live)), close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function startQuietly(
  { clock, random, environment, output }: CommandContext,
  options: { config: LoadedConfig['config']; dataDir: string },
): Promise<RunningNode> {
  // A chat with a running node does not need all this.
  const { startNode } = await import('../node/node.ts');
  const log = createLogger(options.config.logLevel, output.streams.stderr, { pretty: true });
  return startNode({ ...options, environment, alone: true }, { clock, random, log });
}

/** How often the state of a loading model is asked for. */
const pollMs = 100;

/** A model of the node or of its mesh, as far as it is on its way. */
type Sought = Pick<ModelView, 'name' | 'stage' | 'fraction' | 'error'>;

/**
 * Has the node load the model unless it does already, or another node of its mesh serves it; waits until it is ready
 * or has failed.
 */
async function modelReady(
  { clock, interrupted }: CommandContext,
  client: NodeClient,
  reference: string,
  live: LiveRegion,
): Promise<Omit<ChatEndpoint, 'close'>> {
  const before = findModel(await client.status(interrupted), reference);
  if (before === undefined || before.stage === 'failed') {
    await client.load(absoluteReference(reference), interrupted);
  }
  for (;;) {
    const status = await client.status(interrupted);
    const model = findModel(status, reference);
    if (model === undefined) {
      throw new MeshnodeError('model_failed', `${reference} was unloaded before it was ready.`, {
        hint: 'Somebody else uses this node: ask for the model again.',
      });
    }
    if (model.stage === 'failed') {
      throw failureOf(model);
    }
    if (model.stage === 'ready') {
      return { apiUrl: status.apiUrl, token: client.token, model: model.name };
    }
    live.show(reference, progressLine(model));
    await sleep(clock, pollMs, interrupted);
  }
}

/**
 * The model of this name, on this node or in its mesh, else the one that was asked for by this reference or another
 * for its file. What failed here counts only if nobody else serves it.
 */
function findModel({ models, mesh }: NodeStatus, written: string): Sought | undefined {
  const named = models.find(({ name }) => name === written);
  if (named !== undefined && named.stage !== 'failed') {
    return named;
  }
  const elsewhere = mesh?.models.find(({ name }) => name === written);
  return elsewhere ?? named ?? loadedBy(absoluteReference(written), models);
}

function loadedBy(reference: string, models: readonly ModelView[]): Sought | undefined {
  return models.find((model) => model.reference === reference || model.aliases.includes(reference));
}

/** The node may work in another folder than ours. Throws `model_ref_invalid`. */
function absoluteReference(written: string): string {
  const reference = parseReference(written, catalogueNames);
  return reference.kind === 'file' ? absolutePath(reference.path) : written;
}

function failureOf({ name, error }: Sought): MeshnodeError {
  if (error === undefined) {
    return new MeshnodeError('model_failed', `${name} failed to load.`);
  }
  const { code, message, hint } = error;
  return new MeshnodeError(isErrorCode(code) ? code : 'model_failed', message, { hint });
}

function progressLine({ name, stage, fraction, error }: Sought): string {
  return [`${name}: ${stage}`, fraction === undefined ? '' : formatBar(fraction), error?.message ?? '']
    .filter((part) => part !== '')
    .join('  ');
}
