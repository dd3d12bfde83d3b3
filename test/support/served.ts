// The model that a node serves under a name.
import type { ServedModel, Serving } from '../../src/serving/serving.ts';

export function servedAs(serving: Serving, name: string): ServedModel | undefined {
  return serving.served().find(({ status }) => status.name === name);
}
