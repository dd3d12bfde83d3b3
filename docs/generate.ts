// `npm run docs`: writes the documents that are made from tables in the code.
import { writeFile } from 'node:fs/promises';
import { cliMarkdown } from '../src/cli/cli-document.ts';
import { errorTableMarkdown } from '../src/util/errors-document.ts';

await writeFile(new URL('CLI.md', import.meta.url), cliMarkdown());
await writeFile(new URL('errors.md', import.meta.url), errorTableMarkdown());
