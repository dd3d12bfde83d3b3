import { readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';

const root = new URL('../../', import.meta.url);

it('docs/DEPENDENCIES.md gives a reason for every direct dependency, and for no other', async () => {
  const { dependencies, optionalDependencies, devDependencies } = JSON.parse(
    await readFile(new URL('package.json', root), 'utf8'),
  );
  const used = Object.keys({ ...dependencies, ...optionalDependencies, ...devDependencies });
  const document = await readFile(new URL('docs/DEPENDENCIES.md', root), 'utf8');
  const listed = [...document.matchAll(/^\| `([^`]+)` \| \S/gm)].map((match) => match[1]);
  expect(listed.sort()).toEqual(used.sort());
});

it('every version is pinned, so that a build is the same tomorrow', async () => {
  const { dependencies, optionalDependencies, devDependencies } = JSON.parse(
    await readFile(new URL('package.json', root), 'utf8'),
  );
  for (const [name, version] of Object.entries({
    ...dependencies,
    ...optionalDependencies,
    ...devDependencies,
  })) {
    expect(version, name).toMatch(/^\d+\.\d+\.\d+$/);
  }
});
