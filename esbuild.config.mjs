// Bundles the program: one file for the command line, one for the process of an embedded model, and the
// parts they load on demand. Native packages stay outside.
import { cp, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';

const { version } = JSON.parse(await readFile(new URL('package.json', import.meta.url), 'utf8'));

const { metafile } = await build({
  entryPoints: {
    meshnode: 'src/cli/main.ts',
    'embedded-worker': 'src/engine/embedded/worker.ts',
  },
  outdir: 'dist',
  outExtension: { '.js': '.mjs' },
  // All beside each other: the code finds its worker and the demo models relative to its own file.
  chunkNames: 'part-[hash]',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node22.19',
  // The loader of libp2p-quic looks for its native library beside itself.
  external: ['node-llama-cpp', '@chainsafe/libp2p-quic'],
  define: { MESHNODE_VERSION: JSON.stringify(version) },
  // Some dependencies are CommonJS and call require at run time.
  banner: {
    js: "import { createRequire as meshnodeCreateRequire } from 'node:module'; const require = meshnodeCreateRequire(import.meta.url);",
  },
  legalComments: 'linked',
  logLevel: 'warning',
  metafile: true,
});

// The description of the native build is read from beside the bundle.
await cp('src/engine/native/programs', 'dist/native-programs', { recursive: true });

// What an earlier build left goes last: a node that runs from this folder loads its parts on demand, and a
// part keeps its name while its content is the same.
const written = new Set([...Object.keys(metafile.outputs), 'dist/native-programs']);
for (const name of await readdir('dist')) {
  if (!written.has(`dist/${name}`)) {
    await rm(join('dist', name), { recursive: true });
  }
}
