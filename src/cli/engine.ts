// `meshnode engine status` and `meshnode engine build`: the native engine of this machine, what it lacks, and making it.
import { type BuildProgress, buildPrograms } from '../engine/native/build-programs.ts';
import type { NativePrograms, NativeSearch } from '../engine/native/find-programs.ts';
import { buildText } from '../engine/native/program-version.ts';
import { findRuntimePackage, type RuntimePackage } from '../engine/native/runtime-package.ts';
import { findToolchain, type ToolchainAnswer } from '../engine/native/toolchain.ts';
import { runCommand } from '../engine/run-command.ts';
import { loadConfig } from '../node/config.ts';
import { NativeEngine } from '../node/native-engine.ts';
import { engineCacheFolder } from '../node/paths.ts';
import { asMeshnodeError } from '../util/errors.ts';
import { createLogger } from '../util/logging.ts';
import { formatSize } from '../util/size.ts';
import type { CommandContext } from './command-context.ts';
import { formatBar, formatShare } from './format.ts';
import { LiveRegion } from './live-region.ts';
import type { Output } from './output.ts';

const platform = { os: process.platform, arch: process.arch };

/** `meshnode engine build` */
export async function buildEngine(context: CommandContext): Promise<number> {
  const { options, environment, output, clock, interrupted } = context;
  const { config } = await loadConfig(options.flags(), environment);
  const log = createLogger(config.logLevel, output.streams.stderr, { pretty: true });
  const live = new LiveRegion(output);
  const tell = progressTeller(output, live);
  try {
    const built = await buildPrograms(
      { clock, log, run: runCommand, environment },
      {
        cacheFolder: engineCacheFolder(),
        package: await findRuntimePackage(platform),
        again: options.has('again'),
        signal: interrupted,
        onProgress: tell,
      },
    );
    // Sets the programs up where they are used from; a node that runs already may look for them at any moment.
    await new NativeEngine(config, environment).search(interrupted).catch(() => {}); // `engine status` says why.
    const { folder, wasThere, manifest } = built;
    const { build, seconds, isFull } = manifest;
    if (output.json) {
      output.event({ event: 'built', build, folder, seconds, isFull, wasThere });
    } else {
      const words = wasThere ? 'is there already' : `built in ${seconds} s`;
      live.settle(
        'build',
        `${output.styled('good', '✓', 'stderr')} llama-server and RPC server ${build}: ${words}`,
      );
    }
    return 0;
  } catch (thrown) {
    live.drop('build');
    const error = asMeshnodeError(thrown);
    if (error.code === 'engine_missing' && options.has('if-possible')) {
      output.say(`The native engine is not built: ${error.message} ${error.hint}`);
      return 0;
    }
    throw error;
  } finally {
    live.close();
  }
}

const stageWords: Readonly<Record<BuildProgress['stage'], string>> = {
  waiting: 'waiting for a build that another process makes',
  unpacking: "unpacking llama.cpp's source",
  configuring: 'configuring',
  compiling: 'compiling llama-server (a minute or two)',
  checking: 'checking what was built',
};

/** On a terminal a line in place; elsewhere, and with `--json`, one line a stage and a tenth. */
function progressTeller(output: Output, live: LiveRegion): (progress: BuildProgress) => void {
  let told = '';
  return ({ stage, fraction }) => {
    const step = `${stage} ${fraction === undefined ? '' : Math.floor(fraction * 10)}`;
    const bar = fraction === undefined ? '' : `  ${formatBar(fraction)} ${formatShare(fraction)}`;
    live.show('build', `  ${stageWords[stage]}${bar}`);
    if (step === told || output.isLive) {
      return;
    }
    if (output.json) {
      output.event({ event: 'build', stage, ...(fraction === undefined ? {} : { fraction }) });
    } else if (!told.startsWith(stage)) {
      output.say(`${stageWords[stage]} ...`);
    }
    told = step;
  };
}

/** `meshnode engine status` */
export async function engineStatus(context: CommandContext): Promise<number> {
  const { options, environment, output, interrupted } = context;
  const { config } = await loadConfig(options.flags(), environment);
  const source = await findRuntimePackage(platform);
  const search = await new NativeEngine(config, environment).search(interrupted);
  const tools = await findToolchain(
    { platform: process.platform, run: runCommand, chosenCompiler: environment['CXX'] },
    interrupted,
  );
  if (output.json) {
    output.value(statusValue(search, source, tools));
  } else {
    printStatus(search, source, tools, output);
  }
  return 0;
}

/** The contract of `--json`: fields are added, never renamed. */
function statusValue(
  { programs, passedOver, modules }: NativeSearch,
  source: RuntimePackage | undefined,
  tools: ToolchainAnswer,
) {
  return {
    llamaServer: programs?.llamaServer ?? null,
    rpcServer: programs?.rpcServer ?? null,
    origin: programs?.origin ?? null,
    rpcBuild: programs === undefined ? null : buildText(programs.build),
    backend: programs?.backend ?? null,
    devices: (programs?.devices ?? []).map(({ name, product, totalBytes, freeBytes }) => ({
      name,
      product,
      totalBytes,
      freeBytes,
    })),
    passedOver,
    gpus: modules.map(({ module, missing, hint }) => ({
      backend: module.backend,
      runtime: module.runtime,
      missing,
      hint: hint ?? null,
    })),
    embedded:
      source === undefined
        ? null
        : {
            version: source.version,
            llamaCpp: source.sourceRelease,
            libraries: source.librariesFolder !== undefined,
          },
    canBuild: tools.ok,
    missingTools: tools.ok ? [] : tools.missing,
  };
}

function printStatus(
  search: NativeSearch,
  source: RuntimePackage | undefined,
  tools: ToolchainAnswer,
  output: Output,
): void {
  const { programs, passedOver, modules } = search;
  const rows = [
    [
      'llama-server',
      programs === undefined ? 'not there' : `${originWords[programs.origin]}: ${programs.llamaServer}`,
    ],
    [
      'RPC server',
      programs === undefined
        ? 'not there'
        : (programs.rpcServer ?? 'not beside it: this node can lend no device'),
    ],
    ...(programs === undefined
      ? []
      : [
          ['RPC build', buildText(programs.build)],
          ['computes on', devicesText(programs)],
        ]),
    ...modules.map(({ module, missing }) => [
      module.runtime,
      missing.length === 0 ? 'can be used' : `lacks ${missing.join(', ')}`,
    ]),
    [
      'embedded',
      source === undefined
        ? 'node-llama-cpp is not installed'
        : `node-llama-cpp ${source.version}, llama.cpp ${source.sourceRelease}`,
    ],
    [
      'to build',
      tools.ok
        ? `${tools.toolchain.compiler}, ${tools.toolchain.generator}`
        : `missing: ${tools.missing.join(', ')}`,
    ],
  ];
  for (const [what = '', words = ''] of rows) {
    output.line(`${what.padEnd(13)} ${words}`);
  }
  for (const hint of hintsOf(search, tools)) {
    output.line('');
    output.line(`${output.styled('warning', '!')} ${hint}`);
  }
  for (const { path, reason } of passedOver) {
    output.line(`${output.styled('warning', '!')} ${path} is not used. ${reason}`);
  }
}

const originWords: Readonly<Record<NativePrograms['origin'], string>> = {
  configured: 'configured',
  built: 'built here',
  path: 'on the PATH',
};

function devicesText({ devices, backend }: NativePrograms): string {
  if (devices === undefined) {
    return 'what it does not tell in time';
  }
  if (devices.length === 0) {
    return backend === undefined || backend === 'cpu' ? 'the CPU' : `the CPU (no device for ${backend})`;
  }
  return devices
    .map(({ name, product, totalBytes }) => `${name} ${product}, ${formatSize(totalBytes)}`)
    .join('; ');
}

/** What would make it better, the most useful first. */
function hintsOf({ programs, modules }: NativeSearch, tools: ToolchainAnswer): string[] {
  const gpuHints = modules.some(({ missing }) => missing.length === 0)
    ? []
    : modules.flatMap(({ hint }) => hint ?? []);
  return [
    ...(programs !== undefined
      ? []
      : [tools.ok ? 'Build it: `meshnode engine build`, a minute or two.' : tools.hint]),
    ...[...new Set(gpuHints)].map((hint) => `For a GPU: ${hint}`),
  ];
}
