// What a member may do. Each role includes the ones before it.

/** client: asks only. serve: also runs models, gossips and lends devices. admin: also invites and revokes. */
export const roles = ['client', 'serve', 'admin'] as const;

export type Role = (typeof roles)[number];

/** Whether `role` includes what `needed` may do. */
export function includesRole(role: Role, needed: Role): boolean {
  return roles.indexOf(role) >= roles.indexOf(needed);
}
