import { isAbsolute, join, relative } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { catalogueNames } from '../../../src/models/catalogue.ts';
import { isSafeRepositoryPath, nameOfFile, parseReference } from '../../../src/models/reference.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';

const parse = (text: string) => parseReference(text, catalogueNames);

function refusal(text: string): MeshnodeError {
  try {
    parse(text);
  } catch (thrown) {
    if (thrown instanceof MeshnodeError) {
      return thrown;
    }
    throw thrown;
  }
  return expect.unreachable(`${text} was accepted`);
}

describe('a reference', () => {
  test.each([
    ['/models/Foo-Q4_0.gguf', 'Foo-Q4_0'],
    ['./Foo.Q8_0.GGUF', 'Foo.Q8_0'],
    ['../x/Foo-00001-of-00003.gguf', 'Foo'],
    ['~/models/Foo.gguf', 'Foo'],
    ['Foo.gguf', 'Foo'],
    ['models/Foo.gguf', 'Foo'],
    ['C:\\models\\Foo.gguf', 'Foo'],
    ['/usr/share/ollama/blobs/sha256-abc', 'sha256-abc'],
  ])('%s is a path, served as %s', (text, name) => {
    expect(parse(text)).toEqual({ kind: 'file', text, name, path: text });
  });

  test.each([
    ['hf:Qwen/Qwen3-0.6B-GGUF', 'Qwen3-0.6B', { by: 'default' }, 'main'],
    ['hf:Qwen/Qwen3-0.6B-GGUF:Q8_0', 'Qwen3-0.6B-Q8_0', { by: 'quantisation', quantisation: 'Q8_0' }, 'main'],
    [
      'hf:Qwen/Qwen3-0.6B-GGUF:Q8_0@v1',
      'Qwen3-0.6B-Q8_0',
      { by: 'quantisation', quantisation: 'Q8_0' },
      'v1',
    ],
    ['hf:Qwen/Qwen3-0.6B-GGUF@refs/pr/1', 'Qwen3-0.6B', { by: 'default' }, 'refs/pr/1'],
    ['hf:Qwen/Qwen3-0.6B-GGUF/a/b-Q8_0.gguf', 'b-Q8_0', { by: 'file', path: 'a/b-Q8_0.gguf' }, 'main'],
    ['https://huggingface.co/Qwen/Qwen3-0.6B-GGUF', 'Qwen3-0.6B', { by: 'default' }, 'main'],
    [
      'https://huggingface.co/Qwen/Qwen3-0.6B-GGUF/blob/main/b-Q8_0.gguf?download=true',
      'b-Q8_0',
      { by: 'file', path: 'b-Q8_0.gguf' },
      'main',
    ],
    [
      'hf.co/Qwen/Qwen3-0.6B-GGUF:Q8_0',
      'Qwen3-0.6B-Q8_0',
      { by: 'quantisation', quantisation: 'Q8_0' },
      'main',
    ],
  ])('%s is a model of the hub, served as %s', (text, name, choice, revision) => {
    expect(parse(text)).toEqual({
      kind: 'hub',
      text,
      name,
      repository: 'Qwen/Qwen3-0.6B-GGUF',
      revision,
      choice,
    });
  });

  test('has the same name by path and from the hub', () => {
    expect(parse('hf:Qwen/Qwen3-0.6B-GGUF:Q8_0').name).toBe(parse('/x/Qwen3-0.6B-Q8_0.gguf').name);
  });

  test('of the catalogue is itself', () => {
    expect(parse('demo')).toEqual({ kind: 'catalogue', text: 'demo', name: 'demo' });
  });
});

describe('what is no reference', () => {
  test.each([
    '',
    ' ',
    'x'.repeat(2000),
    'a\0.gguf',
    '/a\n.gguf',
    'hf:',
    'hf:org',
    'hf:org/',
    'hf:../repo:Q4_0',
    'hf:org/..:Q4_0',
    'hf:org/a--b:Q4_0',
    'hf:org/repo:',
    'hf:org/repo:../Q4',
    'hf:org/repo:Q4_0@../../main',
    'hf:org/repo:Q4_0@',
    'hf:org/repo/../../x.gguf',
    'hf:org/repo//x.gguf',
    'hf:org/repo/readme.md',
    'hf:org/repo/x.gguf:Q4_0',
    'https://example.com/x.gguf',
    'file:///etc/passwd',
    '/models/',
    '../..',
  ])('%j is refused as one', (text) => {
    expect(refusal(text).code).toBe('model_ref_invalid');
  });

  test('but looks like a name gets the nearest one', () => {
    expect(refusal('qwen3-8').hint).toContain('`qwen3-8b`');
    expect(refusal('demo-mo').hint).toContain('`demo-moe`');
    expect(refusal('xyzzy-plugh-quux').hint).not.toContain('Did you mean');
  });

  test('but lacks hf: is told to add it', () => {
    expect(refusal('Qwen/Qwen3-0.6B-GGUF:Q8_0').hint).toContain('`hf:Qwen/Qwen3-0.6B-GGUF:Q8_0`');
  });
});

describe('for any text', () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 80 }),
    fc.stringMatching(/^(hf:|https:\/\/huggingface\.co\/|)[a-z./\\:@~%-]{0,40}(\.gguf)?$/),
    fc.tuple(fc.string(), fc.string(), fc.string()).map(([a, b, c]) => `hf:${a}/${b}/${c}.gguf`),
  );

  test('parsing gives a reference or model_ref_invalid, with text and hint, never anything else', () => {
    fc.assert(
      fc.property(text, (value) => {
        try {
          const reference = parse(value);
          expect(reference.text).toBe(value);
          expect(reference.name.length).toBeGreaterThan(0);
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(MeshnodeError);
          expect(thrown).toMatchObject({ code: 'model_ref_invalid' });
        }
      }),
      { numRuns: 500 },
    );
  });

  test('nothing of a hub reference can leave the cache or the route it is put into', () => {
    const parts = fc.array(fc.constantFrom('a', 'B-1', '..', '.', '', '/', '\\', 'x.gguf', 'C:', '%2e'), {
      maxLength: 6,
    });
    fc.assert(
      fc.property(parts, fc.constantFrom('', '@main', '@..', '@a/../b'), (names, revision) => {
        let reference: ReturnType<typeof parse>;
        try {
          reference = parse(`hf:${names.join('/')}${revision}`);
        } catch {
          return;
        }
        if (reference.kind !== 'hub') {
          return expect.unreachable('hf: gave another kind');
        }
        const file = reference.choice.by === 'file' ? reference.choice.path : '';
        const inside = relative('/cache', join('/cache', reference.repository, reference.revision, file));
        expect(inside.startsWith('..') || isAbsolute(inside)).toBe(false);
        expect(inside).toBe(join(reference.repository, reference.revision, file));
        // As the hub is asked: any sign of a file's name stands for itself.
        const encodedFile = file.split('/').map(encodeURIComponent).join('/');
        const route = `/${reference.repository}/resolve/${reference.revision}/${encodedFile}`;
        expect(new URL(route, 'http://hub').pathname).toBe(route);
      }),
      { numRuns: 500 },
    );
  });

  test('a file name that counts as safe stays below the folder it is joined to', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (path) => {
        if (isSafeRepositoryPath(path)) {
          expect(relative('/cache', join('/cache', path))).toBe(path);
        }
      }),
      { numRuns: 1000 },
    );
  });

  test('a file has a name without folders', () => {
    fc.assert(fc.property(fc.string({ minLength: 1 }), (path) => !/[/\\]/.test(nameOfFile(path))));
  });
});
