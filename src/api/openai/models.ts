// What `/v1/models` shows of a model: its name and state, never where it lies or how it was asked for.
import type OpenAI from 'openai';
import { nearMatches } from '../../dispatch/candidates.ts';
import type { ModelStatus } from '../../serving/model-status.ts';
import { MeshnodeError } from '../../util/errors.ts';

export function modelList(models: readonly ModelStatus[]) {
  return { object: 'list', data: models.map(modelObject) };
}

/** One model of the list. Throws `model_not_found`, naming near matches. */
export function findModel(models: readonly ModelStatus[], name: string) {
  const found = models.find((model) => model.name === name);
  if (found === undefined) {
    const near = nearMatches(
      name,
      models.map((model) => model.name),
    );
    const suggestion = near.length === 0 ? '' : ` Did you mean ${near.map(quoted).join(' or ')}?`;
    throw new MeshnodeError('model_not_found', `No model called ${quoted(name)} is served.${suggestion}`, {
      param: 'model',
    });
  }
  return modelObject(found);
}

function modelObject({ name, createdMs, stage, fraction, etaSeconds, capabilities }: ModelStatus) {
  return {
    id: name,
    object: 'model',
    created: Math.floor(createdMs / 1000),
    owned_by: 'meshnode',
    meshnode: {
      state: stage,
      ...(fraction === undefined ? {} : { fraction }),
      ...(etaSeconds === undefined ? {} : { eta_seconds: etaSeconds }),
      ...(capabilities === undefined ? {} : { kinds: [...capabilities.kinds] }),
      ...(capabilities?.contextTokens === undefined ? {} : { context: capabilities.contextTokens }),
    },
  } satisfies OpenAI.Model & { meshnode: object };
}

function quoted(name: string): string {
  return `'${name}'`;
}
