// The structure of the code, held to docs/ARCHITECTURE.md: which folder may import which, and where the
// clock, randomness and the process may be touched.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '../../src');

/** For each folder of src/ the folders it may import, besides itself. Read from the left: util first. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  util: [],
  wire: ['util'],
  trust: ['util', 'wire'],
  net: ['util', 'wire', 'trust'],
  mesh: ['util', 'wire', 'trust', 'net'],
  models: ['util'],
  inference: ['util', 'wire'],
  http: ['util'],
  engine: ['util', 'models', 'inference'],
  serving: ['util', 'models', 'inference', 'engine'],
  routing: ['util'],
  placement: ['util', 'models'],
  dispatch: ['util', 'wire', 'trust', 'net', 'mesh', 'inference', 'engine', 'serving', 'routing'],
  api: ['util', 'http', 'inference', 'engine', 'serving', 'dispatch'],
  console: ['util', 'http', 'models', 'engine', 'placement', 'serving', 'dispatch'],
  node: [
    ...['util', 'http', 'models', 'inference', 'engine', 'serving', 'dispatch', 'api', 'console'],
    ...['trust', 'net', 'mesh', 'placement'],
  ],
  cli: ['util', 'trust', 'models', 'inference', 'engine', 'serving', 'placement', 'console', 'node'],
};

interface SourceFile {
  readonly path: string;
  readonly folder: string;
  readonly text: string;
}

function sourceFiles(): SourceFile[] {
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts') && !path.includes('generated'))
    .map((path) => ({
      path,
      folder: path.split(sep)[0] ?? '',
      text: readFileSync(join(root, path), 'utf8'),
    }));
}

function importsOf(file: SourceFile): string[] {
  const pattern = /(?:^|\n)\s*(?:import|export)[^'";]*?from\s+'([^']+)'|import\('([^']+)'\)/g;
  return [...file.text.matchAll(pattern)].map((match) => match[1] ?? match[2] ?? '');
}

describe('the layers of src/', () => {
  const files = sourceFiles();

  it('knows every folder', () => {
    expect([...new Set(files.map((file) => file.folder))].sort()).toEqual(Object.keys(mayImport).sort());
  });

  it.each(Object.entries(mayImport))('%s imports only %j', (folder, allowed) => {
    const wrong = files
      .filter((file) => file.folder === folder)
      .flatMap((file) =>
        importsOf(file)
          .filter((target) => target.startsWith('.'))
          .map((target) => relative(root, resolve(root, dirname(file.path), target)).split(sep)[0] ?? '')
          .filter((target) => target !== folder && !allowed.includes(target))
          .map((target) => `${file.path} imports ${target}`),
      );
    expect(wrong).toEqual([]);
  });

  it('finds a forbidden import when there is one', () => {
    const file = { path: 'util/x.ts', folder: 'util', text: "import { a } from '../api/api.ts';\n" };
    expect(importsOf(file)).toEqual(['../api/api.ts']);
  });
});

describe('what only certain folders may touch', () => {
  const rules = [
    {
      what: 'the clock',
      pattern: /Date\.now\(|performance\.now\(|new Date\(\)|(?<![.\w])set(?:Timeout|Interval|Immediate)\(/,
      allowed: /^util\//,
    },
    { what: 'randomness', pattern: /Math\.random\(|randomBytes\(|randomUUID\(/, allowed: /^util\// },
    {
      what: 'the command line and the end of the process',
      pattern: /process\.(?:argv|exit\(|exitCode)/,
      allowed: /^cli\/main\.ts$|^engine\/child-side\.ts$/,
    },
    { what: 'the console', pattern: /\bconsole\.(?:log|error|warn|info)\(/, allowed: /^$/ },
    { what: 'the native runtime', pattern: /from 'node-llama-cpp'/, allowed: /^engine\/embedded\// },
  ];

  it.each(rules)('$what', ({ pattern, allowed }) => {
    const wrong = sourceFiles().filter(
      (file) => !allowed.test(file.path) && pattern.test(withoutComments(file.text)),
    );
    expect(wrong.map((file) => file.path)).toEqual([]);
  });

  it('defines no error class but one', () => {
    const definitions = sourceFiles().filter((file) => /class \w+ extends (?:\w*Error)\b/.test(file.text));
    expect(definitions.map((file) => file.path)).toEqual(['util/errors.ts'.replaceAll('/', sep)]);
  });
});

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
}
