// Whose keys the API accepts, as the API sees it. Types only.
import type { HashedKey } from '../http/guards.ts';
import type { KeyLimits } from './key-limits.ts';

/** A key with what it may use. */
export interface ApiKey extends HashedKey, KeyLimits {}

export interface KeyRing {
  /**
   * The keys in force. Undefined if there never was one: then callers on loopback need none. An empty list
   * lets nobody in: to revoke the last key must not open the door.
   */
  current(): Promise<readonly ApiKey[] | undefined>;
}
