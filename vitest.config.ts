// How the tests run. Slow classes (e2e, conformance) start real processes: one file at a time.
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const report = process.env['MESHNODE_TEST_REPORT'];

export default defineConfig({
  // libp2p's compliance suites ask their own test runner for chai; ours has it.
  resolve: {
    alias: { 'aegir/chai': fileURLToPath(new URL('test/support/libp2p-compliance.ts', import.meta.url)) },
  },
  test: {
    server: { deps: { inline: ['@libp2p/interface-compliance-tests'] } },
    testTimeout: 20_000,
    hookTimeout: 60_000,
    // A file to write the counts to, for whoever runs the tests from a script.
    reporters: report === undefined ? ['default'] : ['default', ['json', { outputFile: report }]],
    projects: [
      { extends: true, test: { name: 'unit', include: ['test/unit/**/*.test.ts'] } },
      { extends: true, test: { name: 'sim', include: ['test/sim/**/*.test.ts'], testTimeout: 180_000 } },
      {
        extends: true,
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts', 'test/conformance/**/*.test.ts'],
          fileParallelism: false,
          testTimeout: 60_000,
        },
      },
    ],
  },
});
