import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';
import { writeSections } from '../../support/document-sections.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

const path = join(await temporaryFolder(), 'document.md');

it('a document keeps the parts that others have written', async () => {
  const file = pathToFileURL(path);
  await writeSections(file, '# All\n', new Map([['one', 'first\n']]));
  await writeSections(file, '# All\n', new Map([['two', '| a |\n|---|\n\n- and more\n']]));
  await writeSections(file, '# All of it\n', new Map([['one', 'second']]));
  expect(await readFile(path, 'utf8')).toBe(
    '# All of it\n\n## one\n\nsecond\n\n## two\n\n| a |\n|---|\n\n- and more\n',
  );
});
