// The MeshnodeError that something throws or rejects with; anything else fails the test.
import { MeshnodeError } from '../../src/util/errors.ts';

export function thrownBy(work: () => unknown): MeshnodeError {
  try {
    work();
  } catch (thrown) {
    return meshnodeError(thrown);
  }
  throw new Error('Nothing was thrown.');
}

export async function rejectionOf(task: Promise<unknown>): Promise<MeshnodeError> {
  try {
    await task;
  } catch (thrown) {
    return meshnodeError(thrown);
  }
  throw new Error('The promise was fulfilled.');
}

function meshnodeError(thrown: unknown): MeshnodeError {
  if (thrown instanceof MeshnodeError) {
    return thrown;
  }
  throw thrown;
}
