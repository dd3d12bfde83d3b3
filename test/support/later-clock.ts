// Preloaded into a node under test (see `clockAhead`): its wall clock runs ahead of the machine's. That is how minutes
// of an invite's life pass in a test; nothing else of the node is changed.
const now = Date.now;
const aheadMs = Number(process.env['TEST_CLOCK_AHEAD_MS'] ?? 0);
Date.now = () => now() + aheadMs;

/** The environment of a node by whose clock it is so much later. */
export function clockAhead(ms: number): Record<string, string> {
  return { NODE_OPTIONS: `--import=${import.meta.url}`, TEST_CLOCK_AHEAD_MS: String(ms) };
}
