// The mesh through the management API: what is asked of the node, and what is refused before.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startConsole } from '../../../src/console/console.ts';
import type { ManagedMesh } from '../../../src/console/mesh-port.ts';
import type { HttpServer } from '../../../src/http/server.ts';
import { systemClock } from '../../../src/util/clock.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { silentLogger } from '../../../src/util/logging.ts';
import { systemRandom } from '../../../src/util/random.ts';
import { MeshDouble, managedNode } from '../../support/mesh-double.ts';

const token = 'f'.repeat(64);
let mesh: ManagedMesh | undefined;
let double: MeshDouble;
let server: HttpServer;

beforeEach(async () => {
  double = new MeshDouble();
  mesh = double;
  server = await startConsole({
    node: managedNode(() => mesh),
    port: 0,
    token,
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
  });
});
afterEach(() => server.close(0));

async function send(path: string, body?: unknown): Promise<{ status: number; answer: unknown }> {
  const response = await fetch(`${server.url}${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: response.status, answer: await response.json() };
}

const invite = { role: 'serve', ttlMs: 1000, uses: 1, strict: false };

describe('the mesh in the management API', () => {
  it('shows the peers', async () => {
    expect(await send('/api/mesh/peers')).toMatchObject({
      status: 200,
      answer: { peers: [{ name: 'bee' }] },
    });
  });

  it.each([
    ['/api/mesh/invite', invite, 'invite serve 1000 1 false', { token: 'mesh1token' }],
    ['/api/mesh/revoke', { target: 'bee' }, 'revoke bee', { peer: { name: 'bee' } }],
    ['/api/mesh/ping', { peer: 'bee', count: 3 }, 'ping bee 3', { count: 3 }],
    [
      '/api/mesh/ping',
      { peer: 'bee', count: 1, throughput: false },
      'ping bee 1 round trips only',
      { count: 1 },
    ],
    ['/api/mesh/leave', { withKey: true }, 'leave true', {}],
  ])('POST %s does what it says', async (path, body, asked, answer) => {
    expect(await send(path, body)).toMatchObject({ status: 200, answer });
    expect(double.asked).toEqual([asked]);
  });

  it.each([
    ['/api/mesh/invite', { ...invite, role: 'king' }],
    ['/api/mesh/invite', { ...invite, uses: 0 }],
    ['/api/mesh/invite', { ...invite, ttlMs: 1e12 }],
    ['/api/mesh/invite', { ...invite, more: 1 }],
    ['/api/mesh/revoke', { target: '' }],
    ['/api/mesh/ping', { peer: 'bee', count: 1e6 }],
    ['/api/mesh/leave', {}],
  ])('POST %s refuses %j', async (path, body) => {
    expect(await send(path, body)).toMatchObject({
      status: 400,
      answer: { error: { code: 'invalid_request' } },
    });
    expect(double.asked).toEqual([]);
  });

  it('answers with the error of the node', async () => {
    double.failure = new MeshnodeError('role_forbidden', 'Only admins can.');
    expect(await send('/api/mesh/revoke', { target: 'bee' })).toMatchObject({
      status: 403,
      answer: { error: { code: 'role_forbidden', message: 'Only admins can.' } },
    });
  });

  it('says so if the node takes part in no mesh', async () => {
    mesh = undefined;
    expect(await send('/api/mesh/peers')).toMatchObject({
      status: 503,
      answer: { error: { code: 'mesh_missing' } },
    });
  });
});
