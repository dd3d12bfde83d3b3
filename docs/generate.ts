// `npm run docs`: writes the documents, and parts of documents, that are made from tables in the code.
import { readFile, writeFile } from 'node:fs/promises';
import { cliMarkdown } from '../src/cli/cli-document.ts';
import { errorTableMarkdown } from '../src/util/errors-document.ts';
import { plansMarkdown } from './plans-document.ts';
import { protocolMarkdown } from './protocol-document.ts';

const protocol = new URL('PROTOCOL.md', import.meta.url);

await writeFile(new URL('CLI.md', import.meta.url), cliMarkdown());
await writeFile(new URL('errors.md', import.meta.url), errorTableMarkdown());
await writeFile(new URL('PLANS.md', import.meta.url), plansMarkdown());
await writeFile(protocol, protocolMarkdown(await readFile(protocol, 'utf8')));
