// Reads the fields of signed messages into plain values, each within its bounds. Knows nothing of what a
// message means.
import { createHash } from 'node:crypto';
import { type ErrorCode, MeshnodeError } from '../util/errors.ts';
import type { MessageCodec } from '../wire/framing.ts';
import { Role as WireRole } from '../wire/trust-messages.ts';
import { keyBytes } from './keys.ts';
import type { Role } from './roles.ts';

type Sent<T> = T | null | undefined;

const wireRoles: Readonly<Record<Role, number>> = {
  client: WireRole.ROLE_CLIENT,
  serve: WireRole.ROLE_SERVE,
  admin: WireRole.ROLE_ADMIN,
};
const rolesByNumber = new Map(Object.entries(wireRoles).map(([role, number]) => [number, role as Role]));

export function sha256(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha256').update(bytes).digest());
}

/** The message that `bytes` hold, unknown fields ignored. Throws `envelope_invalid`; `what` names it. */
export function decodeFields<Decoded>(
  codec: MessageCodec<never, Decoded>,
  bytes: Uint8Array,
  what: string,
): Decoded {
  try {
    return codec.decode(bytes);
  } catch (cause) {
    throw new MeshnodeError('envelope_invalid', `Of ${what} nothing can be read.`, { cause });
  }
}

/** A time, Unix ms. */
export function readTime(sent: Sent<number>, what: string): number {
  const time = sent ?? 0;
  if (!Number.isSafeInteger(time) || time <= 0) {
    throw new MeshnodeError('envelope_invalid', `A ${what} has no date that can be.`);
  }
  return time;
}

/** An Ed25519 key, public or seed: 32 bytes. */
export function readKey(sent: Sent<Uint8Array>, what: string): Uint8Array {
  if (sent?.length !== keyBytes) {
    throw new MeshnodeError('envelope_invalid', `A ${what} names no key of ${keyBytes} bytes.`);
  }
  return new Uint8Array(sent);
}

export function readRole(sent: Sent<number>, what: string): Role {
  const role = rolesByNumber.get(sent ?? 0);
  if (role === undefined) {
    throw new MeshnodeError('envelope_invalid', `A ${what} names a role that this version does not know.`);
  }
  return role;
}

export function wireRole(role: Role): number {
  return wireRoles[role];
}

/** What `read` gives; its `envelope_invalid` and any of `others` is thrown as `code` instead. */
export function refuseAs<T>(code: ErrorCode, others: readonly ErrorCode[], read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (
      cause instanceof MeshnodeError &&
      (cause.code === 'envelope_invalid' || cause.code === 'kind_unknown' || others.includes(cause.code))
    ) {
      throw new MeshnodeError(code, cause.message, { cause });
    }
    throw cause;
  }
}
