// Which replicas are asked now, in which order, and what is waited for.
import { describe, expect, it } from 'vitest';
import { candidatesOf, type ReadyReplica } from '../../../src/dispatch/candidates.ts';
import type { Replica } from '../../../src/dispatch/replica.ts';
import type { ReplicaLoad } from '../../../src/routing/least-loaded.ts';
import { DoubleEngine } from '../../support/double-engine.ts';
import { localReplica, remoteReplica } from '../../support/replicas.ts';
import { thrownBy } from '../../support/thrown.ts';

const model = await new DoubleEngine().load({ name: 'demo', path: '/demo' });
const loadOf = (replica: ReadyReplica): ReplicaLoad =>
  replica.where === 'remote' ? replica.model.load() : { requests: 0, slots: 4, rttMs: 0 };

/** Who is asked, in order, and why. */
function asked(replicas: readonly Replica[]): { peers: string[]; reason: string } {
  const candidates = candidatesOf(replicas, loadOf);
  if ('wait' in candidates) {
    throw new Error('nobody is asked');
  }
  return { peers: candidates.ask.map(({ peerId }) => peerId), reason: candidates.reason };
}

describe('candidatesOf', () => {
  it('says that there is only one', () => {
    expect(asked([localReplica({ model })])).toEqual({ peers: ['here'], reason: 'only' });
    expect(asked([remoteReplica('ada')])).toEqual({ peers: ['ada'], reason: 'only' });
  });

  it('asks this node first if nobody has less to do', () => {
    expect(asked([remoteReplica('ada'), localReplica({ model })])).toEqual({
      peers: ['here', 'ada'],
      reason: 'least-loaded',
    });
  });

  it('asks nobody who is not heard, nor whose model is on its way while another is ready', () => {
    const replicas = [
      remoteReplica('silent', { isHeard: false }),
      remoteReplica('loading', { stage: 'loading' }),
      remoteReplica('ada'),
    ];
    expect(asked(replicas).peers).toEqual(['ada']);
  });

  it('waits for this node`s own model, unless another node has it ready', () => {
    const coming = localReplica({ stage: 'loading' });
    expect(candidatesOf([coming, remoteReplica('ada', { stage: 'loading' })], loadOf)).toEqual({
      wait: coming,
    });
    expect(asked([coming, remoteReplica('ada')]).peers).toEqual(['ada']);
  });

  it('leaves the waiting to the node that loads the model', () => {
    expect(asked([remoteReplica('ada', { stage: 'loading' })]).peers).toEqual(['ada']);
  });

  it('says so, and when to come back, if nobody who serves the model is heard', () => {
    const error = thrownBy(() => candidatesOf([remoteReplica('ada', { isHeard: false })], loadOf));
    expect(error).toMatchObject({ code: 'peer_unreachable', details: { retryAfterSeconds: 5 } });
    expect(error.message).toContain("'demo'");
  });
});
