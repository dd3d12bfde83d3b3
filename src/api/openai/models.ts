// What `/v1/models` shows of a model: its name and state, never where it lies or how it was asked for.
import type OpenAI from 'openai';
import { type ListedModel, notFound } from '../../dispatch/model-directory.ts';

export function modelList(models: readonly ListedModel[]) {
  return { object: 'list', data: models.map(modelObject) };
}

/** One model of the list. Throws `model_not_found`, naming near matches. */
export function findModel(models: readonly ListedModel[], name: string) {
  const found = models.find((model) => model.name === name);
  if (found === undefined) {
    throw notFound(
      name,
      models.map((model) => model.name),
    );
  }
  return modelObject(found);
}

function modelObject({ name, createdMs, stage, fraction, etaSeconds, capabilities, replicas }: ListedModel) {
  return {
    id: name,
    object: 'model',
    created: Math.floor(createdMs / 1000),
    owned_by: 'meshnode',
    meshnode: {
      state: stage,
      replicas,
      ...(fraction === undefined ? {} : { fraction }),
      ...(etaSeconds === undefined ? {} : { eta_seconds: etaSeconds }),
      ...(capabilities === undefined ? {} : { kinds: [...capabilities.kinds] }),
      ...(capabilities?.contextTokens === undefined ? {} : { context: capabilities.contextTokens }),
    },
  } satisfies OpenAI.Model & { meshnode: object };
}
