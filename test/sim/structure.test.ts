// What the simulator must not do: time, chance, merging and signing are the real code's, or the result is worth
// nothing.
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const source = resolve(import.meta.dirname, '../../src');

/** The text of each file of the simulator without this one, comments left out. */
const files = readdirSync(import.meta.dirname)
  .filter((name) => name.endsWith('.ts') && name !== 'structure.test.ts')
  .map((name) => ({ name, text: withoutComments(readFileSync(join(import.meta.dirname, name), 'utf8')) }));

describe('the simulator', () => {
  const forbidden = [
    { what: 'a timer', pattern: /\bset(?:Timeout|Interval|Immediate)\(|\bDate\b|\bsystemClock\b/ },
    { what: 'chance that no seed decides', pattern: /Math\.random|randomBytes|systemRandom/ },
    {
      what: 'a merge or an order of records',
      pattern: /(?:function|class|#)\s*\w*(?:[mM]erge|compareVersions)/,
    },
    { what: 'signing or verifying', pattern: /from 'node:crypto'.*\b(?:sign|verify)\b|\b(?:sign|verify)\(/ },
    { what: 'a way of its own to read what is signed', pattern: /\.decode\(|protobufjs/ },
  ];

  it.each(forbidden)('has not $what of its own', ({ pattern }) => {
    expect(files.filter(({ text }) => pattern.test(text)).map(({ name }) => name)).toEqual([]);
  });

  it('runs the classes that the node runs', () => {
    expect(imports(textOf('population.ts'), 'mesh/membership.ts')).toContain('Membership');
    expect(imports(textOf('population.ts'), 'trust/mesh-trust.ts')).toContain('MeshTrust');
    expect(readFileSync(join(source, 'mesh/mesh.ts'), 'utf8')).toMatch(
      /\bMembership\b[^;]*from '\.\/membership\.ts'/,
    );
  });

  it('sends the bytes that the node sends', () => {
    expect(imports(textOf('simulated-node.ts'), 'mesh/message-codec.ts')).toEqual([
      'encodeMessage',
      'readMessage',
    ]);
  });
});

function textOf(name: string): string {
  return files.find((file) => file.name === name)?.text ?? '';
}

/** The names that a text imports from the module whose path ends like this, types aside. */
function imports(text: string, path: string): string[] {
  const pattern = /import \{([^}]*)\} from '([^']*)'/g;
  return [...text.matchAll(pattern)]
    .filter((match) => match[2]?.endsWith(`/${path}`))
    .flatMap((match) => (match[1] ?? '').split(','))
    .map((name) => name.trim())
    .filter((name) => name !== '' && !name.startsWith('type '));
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
}
