// The mesh in the management API: peers, invites, revocations, measurements, leaving.
import * as z from 'zod';
import type { Exchange } from '../http/exchange.ts';
import { sendJson } from '../http/json-answer.ts';
import { nodeLimits } from '../util/limits/node.ts';
import { trustLimits } from '../util/limits/trust.ts';
import { type ManagedMesh, roleNames } from './mesh-port.ts';
import { get, post } from './route.ts';

const name = z
  .string()
  .min(1)
  .max(2 * trustLimits.tokenBytes);

const inviteBody = z.strictObject({
  role: z.enum(roleNames),
  ttlMs: z.int().min(1).max(trustLimits.inviteLifeMs),
  uses: z.int().min(1).max(trustLimits.inviteUses),
  strict: z.boolean(),
});
const revokeBody = z.strictObject({ target: name });
const pingBody = z.strictObject({
  peer: name,
  count: z.int().min(1).max(nodeLimits.pings),
  throughput: z.boolean().default(true),
});
const leaveBody = z.strictObject({ withKey: z.boolean() });

/** `mesh` throws `mesh_missing` while there is none; `read` gives the body of a request, checked. */
export function meshRoutes(
  mesh: () => ManagedMesh,
  read: <T>(exchange: Exchange, schema: z.ZodType<T>) => Promise<T>,
) {
  return [
    get('/api/mesh/peers', async ({ response, signal }) =>
      sendJson(response, 200, { peers: await mesh().peers(signal) }),
    ),
    post('/api/mesh/invite', async (exchange) => {
      const request = await read(exchange, inviteBody);
      sendJson(exchange.response, 200, mesh().invite(request));
    }),
    post('/api/mesh/revoke', async (exchange) => {
      const { target } = await read(exchange, revokeBody);
      sendJson(exchange.response, 200, mesh().revoke(target));
    }),
    post('/api/mesh/ping', async (exchange) => {
      const request = await read(exchange, pingBody);
      sendJson(exchange.response, 200, await mesh().ping(request, exchange.signal));
    }),
    post('/api/mesh/leave', async (exchange) => {
      const { withKey } = await read(exchange, leaveBody);
      await mesh().leave(withKey);
      sendJson(exchange.response, 200, {});
    }),
  ];
}
