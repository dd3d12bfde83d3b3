import { readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { cliMarkdown } from '../../../src/cli/cli-document.ts';

it('docs/CLI.md says what the command table says; `npm run docs` writes it', async () => {
  expect(await readFile(new URL('../../../docs/CLI.md', import.meta.url), 'utf8')).toBe(cliMarkdown());
});
