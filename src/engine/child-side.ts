// The duty of every process of ours that a node starts: to end when the node does. The first thing such
// a process calls; it imports nothing, so that nothing can fail before it.

/** Ends this process as soon as the node that started it lets go of it, or is gone. */
export function exitWithParent(): void {
  process.once('disconnect', () => process.exit(0));
}
