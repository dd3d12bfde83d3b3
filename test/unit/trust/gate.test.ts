import { describe, expect, it } from 'vitest';
import { mayOpen, protocols } from '../../../src/trust/gate.ts';
import { type Role, roles } from '../../../src/trust/roles.ts';

const everybody: readonly (Role | undefined)[] = [undefined, ...roles];

/** Who may open what, written down a second time on purpose: a change of the table must be meant. */
const expected: Readonly<Record<string, readonly (Role | undefined)[]>> = {
  '/meshnode/join/1': [undefined, 'client', 'serve', 'admin'],
  '/meshnode/heartbeat/1': ['client', 'serve', 'admin'],
  '/meshnode/infer/1': ['client', 'serve', 'admin'],
  '/meshnode/route/1': ['client', 'serve', 'admin'],
  '/meshnode/measure/1': ['client', 'serve', 'admin'],
  '/meshnode/gossip/1': ['serve', 'admin'],
  '/meshnode/rpc/1': ['serve', 'admin'],
  '/meshnode/blob/1': ['serve', 'admin'],
  '/ipfs/id/1.0.0': ['client', 'serve', 'admin'],
  '/ipfs/ping/1.0.0': ['client', 'serve', 'admin'],
  '/meshsub/1.0.0': ['serve', 'admin'],
  '/meshsub/1.1.0': ['serve', 'admin'],
  '/meshsub/1.2.0': ['serve', 'admin'],
  '/floodsub/1.0.0': [],
};

describe('the gate', () => {
  it.each(Object.entries(expected))('opens %s to %j', (protocol, allowed) => {
    expect(everybody.filter((role) => mayOpen(role, protocol))).toEqual(allowed);
  });

  it('says of every protocol between nodes who may open it', () => {
    expect(Object.values(protocols).filter((protocol) => !Object.hasOwn(expected, protocol))).toEqual([]);
  });

  it.each([
    '',
    '/meshnode/join/2',
    '/meshnode/join/1/',
    '/MESHNODE/infer/1',
    '/ipfs/id/push/1.0.0',
    '/libp2p/circuit/relay/0.2.0/hop',
    'constructor',
    '__proto__',
  ])('keeps the unknown protocol "%s" shut to everybody', (protocol) => {
    expect(everybody.filter((role) => mayOpen(role, protocol))).toEqual([]);
  });
});
