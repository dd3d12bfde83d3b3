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

it('the lock file knows the packages of every platform, so that an install elsewhere has them too', async () => {
  const { packages } = JSON.parse(await readFile(new URL('package-lock.json', root), 'utf8'));
  for (const [name, { optionalDependencies = {} }] of Object.entries<{ optionalDependencies?: object }>(
    packages,
  )) {
    for (const dependency of Object.keys(optionalDependencies)) {
      // npm leaves out what its registry does not have, and then refuses its own lock file.
      expect(packages, `${dependency} of ${name}`).toHaveProperty([`node_modules/${dependency}`]);
    }
  }
});
