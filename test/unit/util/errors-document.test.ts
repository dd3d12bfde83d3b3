import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, it } from 'vitest';
import { errorTable } from '../../../src/util/errors.ts';
import { errorTableMarkdown } from '../../../src/util/errors-document.ts';

const path = resolve(import.meta.dirname, '../../../docs/errors.md');
const command = `node -e "import('./src/util/errors-document.ts').then(({ errorTableMarkdown }) => fs.writeFileSync('docs/errors.md', errorTableMarkdown()))"`;

it('docs/errors.md is what the table of errors says', () => {
  const isCurrent = readFileSync(path, 'utf8') === errorTableMarkdown();
  expect(isCurrent, `docs/errors.md is out of date; write it with: ${command}`).toBe(true);
});

it('the document has a row for each code', () => {
  const rows = errorTableMarkdown().match(/^\| `\w+` \|/gm) ?? [];
  expect(rows).toHaveLength(Object.keys(errorTable).length);
});
