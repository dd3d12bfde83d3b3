// What a model is, from its reference alone: its files are read here, or, if they are on the hub only, their headers
// there. Brings nothing to this machine and changes nothing.

import { catalogueNames } from './catalogue.ts';
import { combineDigests } from './digest.ts';
import type { Hub } from './hub.ts';
import { type ModelFiles, readModelFiles } from './model-files.ts';
import type { HubReference } from './reference.ts';
import { parseReference } from './reference.ts';
import { localModel, type ResolveComponents, resolveLocal, sourceOf } from './resolve-model.ts';

export interface InspectedModel {
  /** Name that clients ask for. */
  readonly name: string;
  readonly files: ModelFiles;
  /** Digest by the hub's own hashes, lower-case hex; absent if they are not known. */
  readonly hubSha256?: string;
  /** Whether its files are on this machine. */
  readonly isHere: boolean;
}

/** Rejects with `model_ref_invalid`, `model_file_missing`, `gguf_invalid`, or what a download may fail with. */
export async function inspectModel(
  text: string,
  components: ResolveComponents,
  signal: AbortSignal,
): Promise<InspectedModel> {
  const reference = parseReference(text, catalogueNames);
  const source = sourceOf(reference, components.demoFolder);
  const { name } = reference;
  if ('hub' in source) {
    return { name, ...(await inspectHubModel(source.hub, components.hub, signal)) };
  }
  const { path } = await resolveLocal(reference, source.path);
  return { name, files: await readModelFiles(path, { signal }), isHere: true };
}

async function inspectHubModel(
  reference: HubReference,
  hub: Hub,
  signal: AbortSignal,
): Promise<Omit<InspectedModel, 'name'>> {
  const cached = await hub.findCached(reference);
  if (cached !== undefined) {
    const { path, hubSha256 } = localModel(cached);
    const files = await readModelFiles(path, { signal });
    return { files, isHere: true, ...(hubSha256 === undefined ? {} : { hubSha256 }) };
  }
  const { files, sha256 } = await hub.readHeaders(reference, signal);
  return { files, hubSha256: combineDigests(sha256), isHere: false };
}
