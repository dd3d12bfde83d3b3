// `meshnode doctor`: runs the checks of node/checks.ts on this machine and those of node/peer-checks.ts on the mesh of
// the running node, and prints what each found.
import { join } from 'node:path';
import { attachOpenAiUrl } from '../engine/openai-url/openai-url.ts';
import { readHubSettings } from '../models/hub-settings.ts';
import { type CheckResult, failure, ok } from '../node/check-result.ts';
import {
  checkAccess,
  checkAttached,
  checkConfig,
  checkDataFolder,
  checkDisk,
  checkEngine,
  checkMemory,
  checkNode,
  checkPort,
} from '../node/checks.ts';
import { loadConfig } from '../node/config.ts';
import type { NodeConfig } from '../node/config-schema.ts';
import { openDataFolder } from '../node/data-folder.ts';
import { inspectHardware } from '../node/inspect-hardware.ts';
import { attachKeyOf, demoFolder, enginesOf, llamaServerParts } from '../node/machine-parts.ts';
import { NativeEngine } from '../node/native-engine.ts';
import { NodeKeys } from '../node/node-keys.ts';
import { checkMesh } from '../node/peer-checks.ts';
import { withTimeout } from '../util/async.ts';
import { MeshnodeError } from '../util/errors.ts';
import { nodeLimits } from '../util/limits/node.ts';
import { silentLogger } from '../util/logging.ts';
import type { CommandContext } from './command-context.ts';
import { type NodeClient, runningNode } from './node-client.ts';
import type { Output } from './output.ts';

export async function doctor(context: CommandContext): Promise<number> {
  const { output, interrupted } = context;
  let failures = 0;
  for await (const result of runChecks(context)) {
    // A check that was ended found nothing.
    interrupted.throwIfAborted();
    failures += result.outcome === 'failed' ? 1 : 0;
    print(result, output);
  }
  return failures === 0 ? 0 : 1;
}

/** The checks in the order in which a node meets what they look at; each is printed before the next begins. */
async function* runChecks(context: CommandContext): AsyncGenerator<CheckResult, void, undefined> {
  const { options, environment, clock, random, interrupted } = context;
  const load = () => loadConfig(options.flags(), environment);
  yield checkNode(process.versions.node);
  const configuration = await checkConfig(load);
  yield configuration;
  if (configuration.outcome === 'failed') {
    return;
  }
  const { config, paths } = await load();
  const client = await runningNode(paths.dataDir);
  const running = client?.card;
  yield await checkDataFolder(paths.dataDir, running, async () => {
    await (await openDataFolder(paths.dataDir, { random })).close();
  });
  yield await checkPort('API port', config.host, config.port, running?.apiUrl);
  if (!config.headless) {
    yield await checkPort('console port', '127.0.0.1', config.consolePort, running?.consoleUrl);
  }
  yield* await meshResults(client, context);
  const components = { clock, random, log: silentLogger, environment };
  yield await checkAccess(config.host, async () =>
    (await NodeKeys.open(paths.dataDir, config.apiKeys, components)).current(),
  );
  yield checkMemory(await inspectHardware(components, config, interrupted));
  yield await checkDisk((await readHubSettings()).cacheFolder);
  const parts = { ...components, config, dataDir: paths.dataDir };
  const engines = enginesOf(config, llamaServerParts(parts, new NativeEngine(config, environment)));
  for (const engine of engines) {
    // Of several engines the last is what there must be: the others are only better.
    const isLast = engine === engines.at(-1);
    const needed = isLast && (config.model.length > 0 || config.attach.length === 0);
    yield await checkEngine(engine, join(demoFolder, 'demo.gguf'), { needed, signal: interrupted });
  }
  for (const url of config.attach) {
    yield await checkAttached(url, async () => attach(url, config, context));
  }
}

/** What the checks of the mesh find, or why there is none to look at. */
async function meshResults(
  client: NodeClient | undefined,
  context: CommandContext,
): Promise<readonly CheckResult[]> {
  if (client === undefined) {
    return [ok('mesh', 'Not looked at: no node runs on this data folder.')];
  }
  if (client.card.consoleUrl === undefined) {
    return [ok('mesh', 'Not looked at: the running node has no management API (--headless).')];
  }
  const slow = (): MeshnodeError =>
    new MeshnodeError('node_not_running', 'The running node does not answer its management API.');
  try {
    return await withTimeout(context.clock, nodeLimits.doctorAskMs, askMesh(client, context), slow);
  } catch (thrown) {
    return [failure('mesh', thrown)];
  }
}

async function askMesh(
  client: NodeClient,
  { clock, interrupted }: CommandContext,
): Promise<readonly CheckResult[]> {
  const node = await client.status(interrupted);
  const { mesh } = node;
  if (mesh === undefined) {
    return [ok('mesh', 'The running node takes part in no mesh.')];
  }
  const peers = await client.peers(interrupted);
  return checkMesh({ node, mesh, peers, wallMs: clock.wallMs() });
}

function attach(
  url: string,
  config: NodeConfig,
  { environment, clock, random, interrupted }: CommandContext,
) {
  const apiKey = attachKeyOf(config, environment);
  return attachOpenAiUrl({
    url,
    ...(apiKey === undefined ? {} : { apiKey }),
    clock,
    random,
    log: silentLogger,
    signal: interrupted,
  });
}

const marks = { ok: ['good', '✓'], warning: ['warning', '!'], failed: ['bad', '✗'] } as const;

function print(result: CheckResult, output: Output): void {
  if (output.json) {
    output.value(result);
    return;
  }
  const [style, mark] = marks[result.outcome];
  output.line(`${output.styled(style, mark)} ${result.check}: ${result.found}`);
  if (result.hint !== undefined) {
    output.line(`  ${result.hint}`);
  }
}
