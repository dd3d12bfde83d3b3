// Writes the codecs of every proto/*.proto to src/wire/generated/: `node proto/generate.mjs`.
// Only encode and decode are made; the files are never edited and not in git.
import { mkdir, readdir } from 'node:fs/promises';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import pbjs from 'protobufjs-cli/pbjs.js';

const protoFolder = fileURLToPath(new URL('.', import.meta.url));
const outputFolder = fileURLToPath(new URL('../src/wire/generated/', import.meta.url));

const leftOut = ['create', 'verify', 'convert', 'delimited', 'typeurl', 'service'].map(
  (part) => `--no-${part}`,
);

await mkdir(outputFolder, { recursive: true });
for (const file of await readdir(protoFolder)) {
  if (file.endsWith('.proto')) {
    const plane = basename(file, '.proto');
    const target = ['--target', 'static-module', '--wrap', 'esm', '--dts', '--root', `meshnode-${plane}`];
    const output = ['--out', `${outputFolder}${plane}.js`];
    await promisify(pbjs.main)([...target, ...leftOut, '--force-number', ...output, `${protoFolder}${file}`]);
  }
}
