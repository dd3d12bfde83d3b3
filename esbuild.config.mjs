// Bundles the program: one file for the command line, one for the process of an embedded model, and the
// parts they load on demand. Native packages stay outside.
import { readFile, rm } from 'node:fs/promises';
import { build } from 'esbuild';

const { version } = JSON.parse(await readFile(new URL('package.json', import.meta.url), 'utf8'));

await rm('dist', { recursive: true, force: true });
await build({
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
  external: ['node-llama-cpp'],
  define: { MESHNODE_VERSION: JSON.stringify(version) },
  // Some dependencies are CommonJS and call require at run time.
  banner: {
    js: "import { createRequire as meshnodeCreateRequire } from 'node:module'; const require = meshnodeCreateRequire(import.meta.url);",
  },
  legalComments: 'linked',
  logLevel: 'warning',
});
