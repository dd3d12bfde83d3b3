import { describe, expect, test } from 'vitest';
import type { HubChoice } from '../../../src/models/reference.ts';
import { chooseModel, modelsAmong, quantisationOf } from '../../../src/models/repository-models.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';

const listed = (...paths: string[]) =>
  modelsAmong(paths.map((path, index) => ({ path, sizeBytes: index + 1 })));

const chosen = (paths: string[], choice: HubChoice): string[] =>
  chooseModel(listed(...paths), choice, 'acme/x').files.map((file) => file.path);

function refusal(paths: string[], choice: HubChoice): string {
  try {
    chosen(paths, choice);
  } catch (thrown) {
    if (thrown instanceof MeshnodeError && thrown.code === 'download_not_found') {
      return `${thrown.message} ${thrown.hint}`;
    }
    throw thrown;
  }
  return expect.unreachable('something was chosen');
}

test.each([
  ['Qwen3-0.6B-Q8_0.gguf', 'Q8_0'],
  ['qwen2.5-0.5b-instruct-q4_k_m.gguf', 'Q4_K_M'],
  ['nomic-embed-text-v1.5.Q4_K_M.gguf', 'Q4_K_M'],
  ['gpt-oss-20b-mxfp4.gguf', 'MXFP4'],
  ['UD-Q4_K_XL/Foo-UD-Q4_K_XL-00001-of-00002.gguf', 'UD-Q4_K_XL'],
  ['Foo-IQ4_XS.gguf', 'IQ4_XS'],
  ['Foo-BF16.gguf', 'BF16'],
  ['Foo-fp16.gguf', 'FP16'],
  ['Foo-7B.gguf', undefined],
  ['Q-learning.gguf', undefined],
])('the quantisation of %s is %s', (path, quantisation) => {
  expect(quantisationOf(path)).toBe(quantisation);
});

describe('the models among files', () => {
  test('are one for all parts of a split file, in order', () => {
    const [model, ...others] = listed('a-00002-of-00002.gguf', 'a-00001-of-00002.gguf', 'readme.md');
    expect(others).toEqual([]);
    expect(model?.files.map((file) => file.path)).toEqual(['a-00001-of-00002.gguf', 'a-00002-of-00002.gguf']);
    expect(model?.sizeBytes).toBe(3);
  });

  test('leave out projectors, importance matrices and models with a part missing', () => {
    expect(
      listed(
        'mmproj-model-f16.gguf',
        'x/Foo.mmproj-Q8_0.gguf',
        'imatrix_unsloth.gguf',
        'b-00001-of-00002.gguf',
      ),
    ).toEqual([]);
    expect(listed('Foo-imatrix-Q4_0.gguf')).toHaveLength(1);
  });
});

describe('the choice', () => {
  test('by quantisation ignores case', () => {
    expect(chosen(['a-q4_k_m.gguf', 'a-q8_0.gguf'], { by: 'quantisation', quantisation: 'Q4_K_M' })).toEqual([
      'a-q4_k_m.gguf',
    ]);
  });

  test('by quantisation prefers the exact one over one that ends in it', () => {
    const paths = ['a-UD-Q4_K_XL.gguf', 'a-Q4_K_XL.gguf'];
    expect(chosen(paths, { by: 'quantisation', quantisation: 'Q4_K_XL' })).toEqual(['a-Q4_K_XL.gguf']);
    expect(chosen(paths.slice(0, 1), { by: 'quantisation', quantisation: 'Q4_K_XL' })).toEqual(
      paths.slice(0, 1),
    );
    expect(chosen(['a-it-qat-q4_0.gguf'], { by: 'quantisation', quantisation: 'qat-Q4_0' })).toHaveLength(1);
  });

  test('without a word takes the smallest that loses little', () => {
    expect(chosen(['a-F16.gguf', 'a-Q8_0.gguf', 'a-Q4_K_M.gguf', 'a-Q4_0.gguf'], { by: 'default' })).toEqual([
      'a-Q4_K_M.gguf',
    ]);
    expect(chosen(['a-F16.gguf', 'a-Q8_0.gguf', 'a-Q4_0.gguf'], { by: 'default' })).toEqual(['a-Q4_0.gguf']);
    expect(chosen(['small.gguf', 'large.gguf'], { by: 'default' })).toEqual(['small.gguf']);
  });

  test('by file takes all parts of the model it belongs to', () => {
    const paths = ['a-00001-of-00002.gguf', 'a-00002-of-00002.gguf'];
    expect(chosen(paths, { by: 'file', path: 'a-00002-of-00002.gguf' })).toEqual(paths);
  });

  test('of what is not there names what is', () => {
    const said = refusal(['a-Q4_0.gguf', 'a-Q8_0.gguf', 'odd.gguf'], {
      by: 'quantisation',
      quantisation: 'Q2_K',
    });
    expect(said).toBe('acme/x has no quantisation Q2_K. It has Q4_0, Q8_0, odd.gguf.');
    expect(refusal(['readme.md'], { by: 'default' })).toContain('no complete GGUF model');
  });

  test('among several of one quantisation asks for the file', () => {
    const said = refusal(['a-Q4_0.gguf', 'b-Q4_0.gguf'], { by: 'quantisation', quantisation: 'Q4_0' });
    expect(said).toContain('hf:acme/x/a-Q4_0.gguf, hf:acme/x/b-Q4_0.gguf');
  });
});
