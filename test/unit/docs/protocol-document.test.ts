import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { protocolMarkdown } from '../../../docs/protocol-document.ts';

const document = readFileSync('docs/PROTOCOL.md', 'utf8');

it('docs/PROTOCOL.md has the tables and vectors of the code; `npm run docs` writes them', () => {
  expect(document).toBe(protocolMarkdown(document));
});

it('the table of a record has every field of its message', () => {
  const proto = readFileSync('proto/mesh.proto', 'utf8');
  const message = /message PeerAnnouncement \{(.*?)\n\}/s.exec(proto)?.[1] ?? '';
  const fields = [...message.matchAll(/ (\w+) = (\d+);/g)];
  expect(fields.length).toBeGreaterThan(10);
  for (const [, name, number] of fields) {
    expect(document).toContain(`| ${number} | \`${name}\` |`);
  }
});

it('a document without one of the parts is refused', () => {
  expect(() => protocolMarkdown(document.replace('<!-- end: limits -->', ''))).toThrow('limits');
});
