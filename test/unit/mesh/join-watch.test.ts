import { describe, expect, it } from 'vitest';
import { JoinWatch } from '../../../src/mesh/join-watch.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { rejectionOf } from '../../support/thrown.ts';

function setUp(...bootstrap: string[]) {
  const watch = new JoinWatch(bootstrap);
  const unreachable = (peer: string): void => watch.dialFailed(peer, 'peer_unreachable', 'no answer');
  return { watch, unreachable, result: watch.result(new ManualClock()) };
}

describe('a join', () => {
  it('has come to nothing once everybody was asked twice and nobody answered', async () => {
    const { unreachable, result } = setUp('a', 'b');
    let hasEnded = false;
    const ended = rejectionOf(result).finally(() => {
      hasEnded = true;
    });
    unreachable('a');
    unreachable('b');
    unreachable('a');
    await Promise.resolve();
    expect(hasEnded).toBe(false);
    unreachable('b');
    expect(await ended).toMatchObject({ code: 'join_failed' });
  });

  it('succeeds if the second dial does', async () => {
    const { watch, unreachable, result } = setUp('a');
    unreachable('a');
    watch.notice({ type: 'joined' });
    await result;
  });

  it('needs no second dial to know that another key answers', async () => {
    const { watch, result } = setUp('a');
    watch.dialFailed('a', 'peer_key_mismatch', 'Another key answers there.');
    expect(await rejectionOf(result)).toMatchObject({ code: 'peer_key_mismatch' });
  });
});
