// How much context a model is served with and how many requests at once, from the memory there is. Pure.
import { estimateMemory } from '../../models/memory-estimate.ts';
import type { ModelInfo } from '../../models/model-info.ts';
import { engineLimits } from '../../util/limits/engine.ts';

export interface ServedSize {
  /** Tokens of one request, prompt and answer together. */
  readonly contextTokens: number;
  /** Requests answered at once. */
  readonly slots: number;
}

export interface SizeWishes {
  /** What the owner asks for; what is absent is chosen. */
  readonly contextTokens?: number | undefined;
  readonly parallel?: number | undefined;
  readonly usableBytes: number;
}

/**
 * What is asked for is taken as it is: whether it fits, serving has checked. Else the longest context of
 * halving steps whose cache takes at most half of what the weights leave; slots are given up before the context
 * falls below engineLimits.defaultContext, and the context at the end.
 */
export function chooseSize(info: ModelInfo, wishes: SizeWishes): ServedSize {
  if (!info.uses.has('chat') && !info.uses.has('completion')) {
    return listSize(info, wishes);
  }
  const trained = info.contextTokens ?? engineLimits.defaultContext;
  const { contextTokens: asked, parallel } = wishes;
  const slotChoices = parallel === undefined ? halvings(engineLimits.parallel, 1) : [parallel];
  const wide = asked === undefined ? contextChoices(trained, engineLimits.defaultContext) : [asked];
  const narrow =
    asked === undefined
      ? contextChoices(Math.min(trained, engineLimits.defaultContext), engineLimits.minContext)
      : [];
  const candidates = [
    ...slotChoices.flatMap((slots) => wide.map((contextTokens) => ({ slots, contextTokens }))),
    ...narrow.map((contextTokens) => ({ slots: slotChoices.at(-1) ?? 1, contextTokens })),
  ];
  const last = candidates.at(-1) ?? { slots: 1, contextTokens: engineLimits.minContext };
  return candidates.find((size) => leavesRoom(info, size, wishes.usableBytes)) ?? last;
}

/** Embeddings and rankings are read in one go: one context of what the model was made for. */
function listSize(info: ModelInfo, { contextTokens, parallel }: SizeWishes): ServedSize {
  const trained = info.contextTokens ?? engineLimits.defaultContext;
  return {
    contextTokens: Math.min(contextTokens ?? engineLimits.defaultContext, trained),
    slots: parallel ?? 1,
  };
}

/** From the most that the model was made for, halving, down to `least`. */
function contextChoices(trained: number, least: number): number[] {
  const most = Math.min(trained, engineLimits.mostContext);
  return halvings(most, Math.min(least, most));
}

function halvings(most: number, least: number): number[] {
  const steps: number[] = [];
  for (let step = most; step >= least; step = Math.floor(step / 2)) {
    steps.push(step);
  }
  return steps;
}

/** A context beyond the default one may take half of what is left; the default itself may take all of it. */
function leavesRoom(info: ModelInfo, { contextTokens, slots }: ServedSize, usableBytes: number): boolean {
  const { totalBytes, weightsBytes } = estimateMemory(info, { contextTokens, parallel: slots });
  const left = usableBytes - weightsBytes;
  const share = contextTokens > engineLimits.defaultContext ? 0.5 : 1;
  return totalBytes - weightsBytes <= left * share;
}
