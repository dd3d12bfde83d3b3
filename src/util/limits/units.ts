// Every bound of the node is in this folder, with unit and reason; nothing else defines a limit. A queue, map, body,
// retry or wait without an entry here is a mistake. Here: the units.
export const KiB = 1024;
export const MiB = 1024 * KiB;
