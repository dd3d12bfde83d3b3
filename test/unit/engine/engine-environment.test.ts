import { expect, it } from 'vitest';
import { engineEnvironment } from '../../../src/engine/engine-environment.ts';

it('passes what a runtime needs and nothing that is secret', () => {
  const environment = {
    PATH: '/usr/bin',
    LC_ALL: 'C',
    CUDA_VISIBLE_DEVICES: '1',
    Path: 'C:\\',
    HF_TOKEN: 'secret',
    MESHNODE_API_KEY: 'secret',
    OPENAI_API_KEY: 'secret',
    NODE_OPTIONS: '--inspect',
    TZ: undefined,
  };
  expect(engineEnvironment(environment)).toEqual({
    PATH: '/usr/bin',
    LC_ALL: 'C',
    CUDA_VISIBLE_DEVICES: '1',
    Path: 'C:\\',
  });
});
