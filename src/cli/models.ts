// `meshnode models`, `models pull` and `models rm`: what is on this machine and in its mesh, what could be, and changing
// it.
import type { MeshStatus } from '../console/mesh-port.ts';
import { type CatalogueEntry, catalogue, fitsMemory, suggestModel } from '../models/catalogue.ts';
import type { DownloadProgress } from '../models/download-progress.ts';
import { resolveModel } from '../models/resolve-model.ts';
import type { StoredModel } from '../models/store.ts';
import { loadConfig } from '../node/config.ts';
import { inspectHardware } from '../node/inspect-hardware.ts';
import { demoFolder, openModelStore, usableBytesOf } from '../node/machine-parts.ts';
import { createLogger, type Logger } from '../util/logging.ts';
import { formatSize } from '../util/size.ts';
import { type CommandContext, requiredArgument } from './command-context.ts';
import { formatBar, formatDuration, formatShare } from './format.ts';
import { LiveRegion } from './live-region.ts';
import { printMeshModels } from './mesh-models.ts';
import { runningNode } from './node-client.ts';

/** `meshnode models` */
export async function listModels(context: CommandContext): Promise<number> {
  const { output, interrupted } = context;
  const { store, log, config, dataDir } = await openStore(context);
  const mesh = await meshOf(dataDir, context);
  const stored = await store.list();
  const here = new Set(stored.map((model) => model.name));
  const others = catalogue.filter((entry) => !here.has(entry.name) && 'hub' in entry.source);
  if (output.json) {
    for (const { name, reference, kind, sizeBytes, files, lastUsedMs } of stored) {
      const lastUsed = lastUsedMs === undefined ? {} : { lastUsed: new Date(lastUsedMs).toISOString() };
      output.value({
        name,
        reference,
        kind,
        sizeBytes,
        files: files.map((file) => file.path),
        here: true,
        ...lastUsed,
      });
    }
    for (const { name, kind, sizeBytes, contextTokens } of others) {
      output.value({ name, reference: name, kind, sizeBytes, contextTokens, here: false });
    }
    for (const model of mesh?.models ?? []) {
      output.value({ ...model, mesh: true });
    }
    return 0;
  }
  output.table(['ON THIS MACHINE', 'KIND', 'SIZE', 'USE IT WITH'], stored.map(storedRow));
  printMeshModels(mesh, output);
  const hardware = await inspectHardware({ ...context, log }, config, interrupted);
  const usableBytes = usableBytesOf(hardware.devices);
  const best = suggestModel(catalogue, usableBytes);
  output.line('');
  output.table(
    ['TO DOWNLOAD', 'KIND', 'ABOUT', `FITS ${formatSize(usableBytes)}`],
    others.map((entry) => [
      entry.name,
      entry.kind,
      formatSize(entry.sizeBytes),
      fitText(entry, usableBytes, best),
    ]),
  );
  output.say(
    `\nDownload one: meshnode models pull ${best?.name ?? 'NAME'}   or any other: hf:org/repo:QUANT`,
  );
  return 0;
}

/** The mesh of the node that runs on this data folder, if there is one. */
async function meshOf(dataDir: string, { interrupted }: CommandContext): Promise<MeshStatus | undefined> {
  const client = await runningNode(dataDir);
  const status = await client?.status(interrupted).catch(() => undefined);
  interrupted.throwIfAborted();
  return status?.mesh;
}

/** `meshnode models pull REF` */
export async function pullModel(context: CommandContext): Promise<number> {
  const { output, interrupted } = context;
  const reference = requiredArgument(context, 0);
  const { hub } = await openStore(context);
  const live = new LiveRegion(output);
  try {
    const model = await resolveModel(
      reference,
      { hub, demoFolder },
      {
        signal: interrupted,
        refresh: true,
        onProgress: (progress) => {
          if (output.json) {
            output.event({ event: 'progress', model: reference, ...progress });
          }
          live.show(reference, `${reference}  ${progressText(progress)}`);
        },
      },
    );
    live.drop(reference);
    if (output.json) {
      const { name, path, sizeBytes, hubSha256 } = model;
      output.event({ event: 'pulled', model: reference, name, path, sizeBytes, sha256: hubSha256 ?? null });
    } else {
      output.line(model.path);
      output.say(`${reference} is here: ${formatSize(model.sizeBytes)}. Try it: meshnode run ${reference}`);
    }
    return 0;
  } finally {
    live.close();
  }
}

/** `meshnode models rm REF` */
export async function removeModel(context: CommandContext): Promise<number> {
  const { output } = context;
  const { store } = await openStore(context);
  const removal = await store.remove(requiredArgument(context, 0));
  if (output.json) {
    output.value(removal);
  } else {
    output.say(`${removal.reference} is deleted: ${formatSize(removal.freedBytes)} are free again.`);
  }
  return 0;
}

async function openStore(context: CommandContext) {
  const { config, paths } = await loadConfig(context.options.flags(), context.environment);
  const log: Logger = createLogger(config.logLevel, context.output.streams.stderr, { pretty: true });
  const opened = await openModelStore(paths.dataDir, { ...context, log });
  return { ...opened, log, config, dataDir: paths.dataDir };
}

function storedRow(model: StoredModel): string[] {
  return [model.name, model.kind, formatSize(model.sizeBytes), model.reference];
}

function fitText(entry: CatalogueEntry, usableBytes: number, best: CatalogueEntry | undefined): string {
  if (entry === best) {
    return 'yes, the best for this machine';
  }
  return fitsMemory(entry, usableBytes) ? 'yes' : 'no';
}

/** One line of progress: `downloading ███░ 42 %  1.2 of 2.8 GiB  35 MiB/s  40 s left`. */
export function progressText({
  stage,
  bytes,
  totalBytes,
  bytesPerSecond,
  etaSeconds,
}: DownloadProgress): string {
  if (totalBytes === 0) {
    return stage;
  }
  const fraction = bytes / totalBytes;
  return [
    stage,
    `${formatBar(fraction)} ${formatShare(fraction)}`,
    `${formatSize(bytes)} of ${formatSize(totalBytes)}`,
    ...(bytesPerSecond === undefined ? [] : [`${formatSize(bytesPerSecond)}/s`]),
    ...(etaSeconds === undefined ? [] : [`${formatDuration(etaSeconds)} left`]),
  ].join('  ');
}
