// `meshnode doctor`: runs the checks of node/checks.ts on this machine and prints what each found.
import { join } from 'node:path';
import { createEmbeddedEngine } from '../engine/embedded/embedded.ts';
import { readHubSettings } from '../models/hub-settings.ts';
import {
  type CheckResult,
  checkConfig,
  checkDataFolder,
  checkDisk,
  checkEngine,
  checkMemory,
  checkNode,
  checkPort,
} from '../node/checks.ts';
import { loadConfig } from '../node/config.ts';
import { findRunningNode, openDataFolder, type RunCard } from '../node/data-folder.ts';
import { inspectHardware } from '../node/inspect-hardware.ts';
import { demoFolder } from '../node/machine-parts.ts';
import { silentLogger } from '../util/logging.ts';
import type { CommandContext } from './command-context.ts';
import type { Output } from './output.ts';

export async function doctor(context: CommandContext): Promise<number> {
  const { output } = context;
  let failures = 0;
  for await (const result of runChecks(context)) {
    failures += result.outcome === 'failed' ? 1 : 0;
    print(result, output);
  }
  return failures === 0 ? 0 : 1;
}

/** The checks one after the other: a port that the engine's check left open would confuse the next. */
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
  const running = await runningNode(paths.dataDir);
  yield await checkDataFolder(paths.dataDir, running, async () => {
    await (await openDataFolder(paths.dataDir, { random })).close();
  });
  yield await checkPort('API port', config.host, config.port, running?.apiUrl);
  if (!config.headless) {
    yield await checkPort('console port', '127.0.0.1', config.consolePort, running?.consoleUrl);
  }
  const components = { clock, random, log: silentLogger };
  yield checkMemory(await inspectHardware(components, config.maxVram, interrupted));
  yield await checkDisk((await readHubSettings()).cacheFolder);
  yield await checkEngine(createEmbeddedEngine(components), join(demoFolder, 'demo.gguf'), interrupted);
}

async function runningNode(dataDir: string): Promise<RunCard | undefined> {
  return findRunningNode(dataDir).then(
    ({ card }) => card,
    () => undefined,
  );
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
