// The mesh and its broadcast together, on real hosts.
import { afterEach, expect, it } from 'vitest';
import type { Broadcast } from '../../../src/mesh/broadcast.ts';
import { noFacts } from '../../../src/mesh/record.ts';
import { KeyPair } from '../../../src/trust/keys.ts';
import { systemRandom } from '../../../src/util/random.ts';
import { type GossipMember, inviteTo, startGossipMember } from '../../support/gossip-mesh.ts';

const running: GossipMember[] = [];

afterEach(async () => {
  const ended = running.splice(0);
  await Promise.all(ended.map(({ mesh }) => mesh.stop()));
  await Promise.all(ended.map(({ host }) => host.close()));
});

it('tells the broadcast who is up, so that news spread long before digests are compared', async () => {
  const meshKey = KeyPair.fromSeed(systemRandom.bytes(32));
  const facts = () => ({ ...noFacts, name: 'before', version: '1.0.0' });
  const told: string[] = [];
  const recorded = (broadcast: Broadcast): Broadcast => ({
    start: (hear) => broadcast.start(hear),
    publish: (envelope) => broadcast.publish(envelope),
    stop: () => broadcast.stop(),
    admit: (peer) => {
      told.push(`up ${peer}`);
      broadcast.admit(peer);
    },
    drop: (peer) => {
      told.push(`down ${peer}`);
      broadcast.drop(peer);
    },
  });
  const founder = await startGossipMember({ entry: { meshKey }, facts, aroundBroadcast: recorded });
  running.push(founder);
  const token = inviteTo(meshKey, founder.address);
  const newcomer = await startGossipMember({ entry: { token }, facts });
  running.push(newcomer);
  await newcomer.mesh.joined();
  const namesSeen = () => newcomer.mesh.members().map(({ record }) => record.name);
  await expect.poll(() => namesSeen().length).toBe(2);

  founder.mesh.setFacts({ ...facts(), name: 'after' });
  await expect.poll(namesSeen, { timeout: 5_000 }).toContain('after');

  await newcomer.mesh.stop();
  await newcomer.host.close();
  running.pop();
  await expect.poll(() => told).toEqual([`up ${newcomer.host.peerId}`, `down ${newcomer.host.peerId}`]);
});
