// The headers that tell of an answer's way through the mesh.
import type { OutgoingHttpHeaders } from 'node:http';
import type { Route } from '../dispatch/answer.ts';
import { apiLimits } from '../util/limits/api.ts';

/** Longest name of a dropped field that is repeated to the caller, characters. */
const ignoredNameLength = 64;

/** Which node answers: on every answer to a caller that may ask. */
export function peerHeader(peer: string): { readonly 'x-meshnode-peer': string } {
  return { 'x-meshnode-peer': headerText(peer) };
}

export function routeHeaders({ peer, attempts, mode, where, reason, model }: Route): OutgoingHttpHeaders {
  return {
    ...peerHeader(peer),
    'x-meshnode-attempts': String(attempts),
    'x-meshnode-route': `mode=${mode}; where=${where}; reason=${headerText(reason)}; model=${headerText(model)}`,
  };
}

/** Names the fields of the request that were dropped, if any. */
export function ignoredHeader(names: readonly string[]): OutgoingHttpHeaders {
  if (names.length === 0) {
    return {};
  }
  const shown = names
    .slice(0, apiLimits.ignoredNames)
    .map((name) => name.slice(0, ignoredNameLength).replace(/[^\w.-]/g, '_'));
  return { 'x-meshnode-ignored': [...shown, ...(names.length > shown.length ? ['...'] : [])].join(', ') };
}

/** Percent-encodes what a header may not hold or what would end a parameter; `org/model:Q4` stays readable. */
function headerText(text: string): string {
  return encodeURIComponent(text.toWellFormed()).replaceAll('%2F', '/').replaceAll('%3A', ':');
}
