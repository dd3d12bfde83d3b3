// A client that asked and then does not read: its connection and what is buffered for it are given up.
import type { ServerResponse } from 'node:http';

/**
 * For an answer about to end: its connection is cut if the client takes nothing of it for `stalledReaderMs`.
 * Node.js ends this watch itself when the answer is out.
 */
export function cutUnlessTaken(response: ServerResponse, stalledReaderMs: number): void {
  response.socket?.setTimeout(stalledReaderMs);
}
