// What `meshnode doctor` looks at: each check examines one thing that can keep a node from working, and
// says what to do. A check never throws, changes nothing, and gets all it looks at handed in.
import { statfs } from 'node:fs/promises';
import { createServer } from 'node:net';
import { dirname } from 'node:path';
import type { Engine } from '../engine/engine.ts';
import type { Hardware } from '../engine/hardware/device.ts';
import type { AttachedServer } from '../engine/openai-url/openai-url.ts';
import { isLoopbackHost } from '../http/loopback.ts';
import { plainOutput } from '../inference/request.ts';
import { errorTable, MeshnodeError, systemErrorCode } from '../util/errors.ts';
import { downloadLimits } from '../util/limits/models.ts';
import { formatSize } from '../util/size.ts';
import { type CheckResult, failed, failure, ok, warning } from './check-result.ts';
import type { LoadedConfig } from './config.ts';
import type { RunCard } from './data-folder.ts';

/** Oldest Node.js that runs the node; package.json says the same. */
const leastNode = [22, 19] as const;
/** Below this much usable memory only the demo models run well. */
const smallMemoryBytes = 1024 ** 3;
/** Below this much free disk the smallest real models do not fit. */
const smallDiskBytes = 4 * 1024 ** 3;

/** `version` as process.versions.node has it. */
export function checkNode(version: string): CheckResult {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const enough = major > leastNode[0] || (major === leastNode[0] && minor >= leastNode[1]);
  return enough
    ? ok('node', `Node.js ${version}.`)
    : failed('node', `Node.js ${version} is too old.`, `Install Node.js ${leastNode.join('.')} or newer.`);
}

/** The configuration, read by `load`. */
export async function checkConfig(
  load: () => Promise<Pick<LoadedConfig, 'paths' | 'warnings'>>,
): Promise<CheckResult> {
  return attempt('configuration', async () => {
    const { paths, warnings } = await load();
    const [first] = warnings;
    return first === undefined
      ? ok('configuration', `${paths.configFile} is read without complaints.`)
      : warning('configuration', first, 'Correct or remove the line.');
  });
}

/** The data folder: `open` takes and gives back the folder, as a node would. */
export async function checkDataFolder(
  path: string,
  running: RunCard | undefined,
  open: () => Promise<void>,
): Promise<CheckResult> {
  if (running !== undefined) {
    return ok('data folder', `${path} is used by the running node, process ${running.pid}.`);
  }
  return attempt('data folder', async () => {
    await open();
    return ok('data folder', `${path} can be written.`);
  });
}

/** A port the node is to listen on. `ownUrl` is where a running node of ours listens. */
export async function checkPort(
  check: string,
  host: string,
  port: number,
  ownUrl: string | undefined,
): Promise<CheckResult> {
  if (ownUrl !== undefined) {
    return ok(check, `The running node listens at ${ownUrl}.`);
  }
  return attempt(check, async () => {
    await listenOnce(host, port);
    return ok(check, `${host}:${port} is free.`);
  });
}

/** Whether those who can reach the API can have a key. `keys` as NodeKeys tells them: undefined if there is no rule. */
export async function checkAccess(
  host: string,
  keys: () => Promise<readonly unknown[] | undefined>,
): Promise<CheckResult> {
  const check = 'API access';
  return attempt(check, async () => {
    const count = (await keys())?.length;
    if (count === undefined && isLoopbackHost(host)) {
      return ok(check, 'Only this machine can call; it needs no key.');
    }
    return count === undefined || count === 0
      ? failed(check, `Who calls ${host} needs a key, and there is none.`, errorTable.key_required.hint)
      : ok(check, `Callers need a key; accepted keys: ${count}.`);
  });
}

/** A server whose models the node is to serve: `connect` attaches to it as a node would. */
export async function checkAttached(
  url: string,
  connect: () => Promise<Pick<AttachedServer, 'models' | 'close'>>,
): Promise<CheckResult> {
  const check = `attached server ${new URL(url).origin}`;
  return attempt(check, async () => {
    const server = await connect();
    const count = server.models().length;
    await server.close();
    return count > 0
      ? ok(check, `It answers; its models: ${count}.`)
      : warning(check, 'It answers but has no model.', 'Load a model there; this node then serves it too.');
  });
}

/**
 * An engine: whether it can run, and whether it answers with the model at `demoPath`. A node that is not to
 * load files can do without.
 */
export async function checkEngine(
  engine: Engine,
  demoPath: string,
  options: { needed: boolean; signal: AbortSignal },
): Promise<CheckResult> {
  const check = `engine ${engine.name}`;
  return attempt(check, async () => {
    const available = await engine.available();
    if (!available.ok) {
      const missing = options.needed ? failed : warning;
      return missing(check, available.reason, available.hint);
    }
    const tokens = await askOnce(engine, demoPath, options.signal);
    return tokens > 0
      ? ok(check, 'It loads the demo model and answers.')
      : failed(
          check,
          'It loads the demo model but gives no answer.',
          'Reinstall node-llama-cpp: `npm rebuild`.',
        );
  });
}

export function checkMemory(hardware: Hardware): CheckResult {
  const largest = Math.max(...hardware.devices.map((device) => device.usableBytes));
  const found = `The largest device has ${formatSize(largest)} usable.`;
  return largest >= smallMemoryBytes
    ? ok('memory', found)
    : warning('memory', found, 'Close other programs, or raise --max-vram: only very small models fit.');
}

/** Space for downloads in `folder`, or the nearest folder above it that exists. */
export async function checkDisk(
  folder: string,
  free: (folder: string) => Promise<number> = freeBytesAt,
): Promise<CheckResult> {
  return attempt('disk', async () => {
    const bytes = await free(folder);
    const found = `${formatSize(bytes)} free for models in ${folder}.`;
    if (bytes < downloadLimits.freeBytes) {
      return failed('disk', found, 'Free some space, or move the models with HF_HOME.');
    }
    return bytes < smallDiskBytes
      ? warning('disk', found, 'Most models are larger. Free some space, or move the models with HF_HOME.')
      : ok('disk', found);
  });
}

async function attempt(check: string, work: () => Promise<CheckResult>): Promise<CheckResult> {
  try {
    return await work();
  } catch (thrown) {
    return failure(check, thrown);
  }
}

function listenOnce(host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (cause) => {
      const reason =
        systemErrorCode(cause) === 'EADDRINUSE' ? 'is in use by another program' : 'cannot be used';
      reject(new MeshnodeError('port_in_use', `${host}:${port} ${reason}.`, { cause }));
    });
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve()));
  });
}

/** Tokens of a short answer. */
async function askOnce(engine: Engine, path: string, signal: AbortSignal): Promise<number> {
  const model = await engine.load({ name: 'demo', path }, { parallel: 1, signal });
  try {
    let tokens = 0;
    const request = {
      kind: 'completion',
      requestId: 'doctor',
      model: { name: 'demo' },
      priority: 'interactive',
      hops: 0,
      extra: {},
      prompt: 'Hello',
      sampling: { temperature: 0 },
      output: { ...plainOutput, maxTokens: 4 },
    } as const;
    for await (const event of model.infer(request, signal)) {
      if (event.type === 'error') {
        throw new MeshnodeError(event.code, event.message);
      }
      tokens += event.type === 'delta' ? 1 : 0;
    }
    return tokens;
  } finally {
    await model.unload();
  }
}

async function freeBytesAt(folder: string): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  } catch (cause) {
    if (systemErrorCode(cause) === 'ENOENT' && dirname(folder) !== folder) {
      return freeBytesAt(dirname(folder));
    }
    throw cause;
  }
}
