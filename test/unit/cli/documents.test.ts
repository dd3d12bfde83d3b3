import { readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { plansMarkdown } from '../../../docs/plans-document.ts';
import { cliMarkdown } from '../../../src/cli/cli-document.ts';

it('docs/CLI.md says what the command table says; `npm run docs` writes it', async () => {
  expect(await readFile(new URL('../../../docs/CLI.md', import.meta.url), 'utf8')).toBe(cliMarkdown());
});

it('docs/PLANS.md says what the planner decides; `npm run docs` writes it', async () => {
  expect(await readFile(new URL('../../../docs/PLANS.md', import.meta.url), 'utf8')).toBe(plansMarkdown());
});
