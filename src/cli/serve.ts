// `meshnode serve`: runs a node until it is told to stop. A person sees three lines, then a line a model;
// a program sees the events of node/events.ts, one JSON object a line.
import { catalogue, suggestModel } from '../models/catalogue.ts';
import { loadConfig } from '../node/config.ts';
import type { NodeConfig } from '../node/config-schema.ts';
import { EventLog, type NodeEvent } from '../node/events.ts';
import { inspectHardware } from '../node/inspect-hardware.ts';
import { usableBytesOf } from '../node/machine-parts.ts';
import { type RunningNode, startNode } from '../node/node.ts';
import type { MeshnodeError } from '../util/errors.ts';
import { createLogger } from '../util/logging.ts';
import type { CommandContext } from './command-context.ts';
import { EventPrinter } from './event-printer.ts';
import { LiveRegion } from './live-region.ts';

export async function serve(context: CommandContext): Promise<number> {
  const { options, environment, clock, random, output, interrupted } = context;
  const { config, paths, warnings } = await loadConfig(options.flags(), environment);
  const live = new LiveRegion(output);
  const log = createLogger(
    config.logLevel,
    output.json ? output.streams.stderr : { write: (line) => live.print(line.trimEnd()) },
    { pretty: !output.json },
  );
  const events = new EventLog(clock, log);
  const printer = new EventPrinter(output, live);
  events.follow(({ event }: { event: NodeEvent }) =>
    output.json ? output.value(event) : printer.print(event),
  );
  const onDraining = (requests: number): void => {
    const answers = requests === 1 ? 'answer' : 'answers';
    live.print(`Waiting for ${requests} running ${answers}; Ctrl-C again stops at once.`);
  };
  try {
    for (const warning of warnings) {
      live.print(warning);
    }
    const node = await startNode(
      { config, environment, dataDir: paths.dataDir, interrupted, onDraining },
      { clock, random, log, events },
    );
    if (!output.json && config.model.length === 0 && config.attach.length === 0) {
      await suggest(context, config, live);
    }
    const failure = await stopped(node, interrupted, onDraining);
    if (failure !== undefined) {
      throw failure;
    }
    return 0;
  } finally {
    live.close();
  }
}

/** Resolves once the node has stopped, by Ctrl-C or by its management API, or to why it could not go on. */
async function stopped(
  node: RunningNode,
  interrupted: AbortSignal,
  onDraining: (requests: number) => void,
): Promise<MeshnodeError | undefined> {
  const stop = (): void => {
    void node.stop({ onDraining });
  };
  if (interrupted.aborted) {
    stop();
  }
  interrupted.addEventListener('abort', stop, { once: true });
  return node.stopped;
}

/** A node without a model says which one this machine could serve. */
async function suggest(context: CommandContext, config: NodeConfig, live: LiveRegion): Promise<void> {
  const log = createLogger('silent', context.output.streams.stderr, { pretty: false });
  const hardware = await inspectHardware({ ...context, log }, config, context.interrupted).catch(
    () => undefined,
  );
  const best = hardware === undefined ? undefined : suggestModel(catalogue, usableBytesOf(hardware.devices));
  const name = best?.name ?? 'demo';
  live.print(`No model is served yet. Start with one: meshnode --model ${name}   (all: meshnode models)`);
}
