// Tokens taken apart and put together again: of any content, their checksum right.
import { createHash } from 'node:crypto';
import { parseToken } from '../../src/trust/invite.ts';
import { Token } from '../../src/wire/trust-messages.ts';

export type TokenFields = Parameters<typeof Token.encode>[0];

export function tokenOf(fields: TokenFields): string {
  const body = Token.encode(fields).finish();
  const checksum = createHash('sha256').update(body).digest().subarray(0, 4);
  return `mesh1${Buffer.concat([checksum, body]).toString('base64url')}`;
}

/** The same invite, but it names other nodes to join at: where one is dialled is not what an inviter signs. */
export function leadingTo(addresses: readonly string[], token: string): string {
  const { grantBytes, inviteSeed, issuer } = parseToken(token);
  return tokenOf({
    grant: grantBytes,
    inviteSeed,
    issuer: issuer?.bytes ?? null,
    addresses: [...addresses],
  });
}
