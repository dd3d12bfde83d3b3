// The gate before every protocol of a real host, which serves them all: what a peer of each role opens, and what it
// does not. Beside it stands the same host without a gate, where everything opens: what is refused is served.
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Libp2pHost } from '../../../src/net/host.ts';
import type { Gate, PathKind, PeerStream } from '../../../src/net/network.ts';
import { mayOpen, type ProtocolId, protocols } from '../../../src/trust/gate.ts';
import { type Role, roles } from '../../../src/trust/roles.ts';
import { systemRandom } from '../../../src/util/random.ts';
import { testHost } from '../../support/test-host.ts';

type Standing = Role | 'stranger';

const standings: readonly Standing[] = ['stranger', ...roles];
const members: readonly Standing[] = ['client', 'serve', 'admin'];
const servers: readonly Standing[] = ['serve', 'admin'];

/** Who opens what, said once more on purpose: a change of the gate must be meant. */
const openers: Readonly<Record<string, readonly Standing[]>> = {
  [protocols.join]: standings,
  [protocols.heartbeat]: members,
  [protocols.infer]: members,
  [protocols.route]: members,
  [protocols.measure]: members,
  [protocols.gossip]: servers,
  [protocols.rpc]: servers,
  [protocols.blob]: servers,
  '/ipfs/id/1.0.0': members,
  '/ipfs/ping/1.0.0': members,
  '/meshsub/1.0.0': servers,
  '/meshsub/1.1.0': servers,
  '/meshsub/1.2.0': servers,
  '/floodsub/1.0.0': [],
};

const ids = Object.keys(openers);
/** Served by every host by itself. */
const byTheHost = ['/ipfs/id/1.0.0', '/ipfs/ping/1.0.0'];
const ofNode: readonly string[] = Object.values(protocols);
const ofServices = ids.filter((id) => !byTheHost.includes(id) && !ofNode.includes(id));

const open: Gate = () => true;

/** A host that answers on every protocol there is, behind `gate`. */
async function servingHost(gate: Gate): Promise<Libp2pHost> {
  const host = await testHost({
    gate,
    transports: { tcp: true, quic: true },
    services: {
      others: ({ registrar }) => ({
        start: async () => {
          for (const protocol of ofServices) {
            await registrar.handle(protocol, (stream) => {
              stream.send(Uint8Array.of(1));
            });
          }
        },
        stop: () => {},
      }),
    },
  });
  for (const protocol of Object.values(protocols)) {
    host.handle(protocol, async (stream) => stream.write(Uint8Array.of(1)), { streamsPerPeer: 4 });
  }
  return host;
}

describe('a host that serves everything', () => {
  const roleOf = new Map<string, Role>();
  let guarded: Libp2pHost;
  let unguarded: Libp2pHost;
  const peers = new Map<Standing, Libp2pHost>();

  beforeAll(async () => {
    [guarded, unguarded] = await Promise.all([
      servingHost((peer, protocol) => mayOpen(roleOf.get(peer), protocol)),
      servingHost(open),
    ]);
    for (const standing of standings) {
      const peer = await servingHost(open);
      peers.set(standing, peer);
      if (standing !== 'stranger') {
        roleOf.set(peer.peerId, standing);
      }
    }
  });

  afterAll(async () => {
    await Promise.all([guarded, unguarded, ...peers.values()].map((host) => host?.close()));
  });

  it('is tried with every protocol that the gate names', () => {
    const source = readFileSync(new URL('../../../src/trust/gate.ts', import.meta.url), 'utf8');
    const named = [...source.matchAll(/'(\/[a-z0-9-]+\/[^']+)'/g)].map(([, id]) => id);
    expect(new Set(named)).toEqual(new Set(ids));
  });

  describe.each<PathKind>(['quic', 'tcp'])('over %s', (path) => {
    /** Which of all protocols one host opens at another, and is answered on. */
    async function openedBy(from: Libp2pHost, to: Libp2pHost): Promise<string[]> {
      await from.addPath(to.peerId, to.addresses(), path);
      const opened: string[] = [];
      for (const id of ids) {
        if (await isAnswered(from, to, id)) {
          opened.push(id);
        }
      }
      return opened;
    }

    async function isAnswered(from: Libp2pHost, to: Libp2pHost, id: string): Promise<boolean> {
      let stream: PeerStream | undefined;
      try {
        // Whatever it is called: the host opens what it is told.
        stream = await from.open(to.peerId, id as ProtocolId, { path });
        if (id === '/ipfs/ping/1.0.0') {
          await stream.write(systemRandom.bytes(32));
        }
        return ((await stream.read())?.length ?? 0) > 0;
      } catch (cause) {
        expect(cause).toMatchObject({ code: expect.stringMatching(/^(protocol_refused|stream_broken)$/) });
        return false;
      } finally {
        stream?.abort(new Error('seen'));
      }
    }

    const allowedTo = (standing: Standing): string[] =>
      ids.filter((id) => openers[id]?.includes(standing) === true);
    const peer = (standing: Standing): Libp2pHost => peers.get(standing) ?? expect.unreachable();

    it.each(standings)('opens to whoever is %s what is meant for it, and nothing else', async (standing) => {
      expect(await openedBy(peer(standing), guarded)).toEqual(allowedTo(standing));
    });

    it.each(standings)('opens itself, at whoever is %s, the same and nothing else', async (standing) => {
      expect(await openedBy(guarded, peer(standing))).toEqual(allowedTo(standing));
    });

    it('would open everything to everybody without the gate', async () => {
      expect(await openedBy(peer('stranger'), unguarded)).toEqual(ids);
    });
  });
});
