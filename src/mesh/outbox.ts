// Collects what one step of the membership machine wants done, in order.
import type { PeerId } from '../trust/keys.ts';
import type { MembershipEffect, MembershipNotice } from './membership-events.ts';
import type { MeshMessage } from './message.ts';

export class Outbox {
  #effects: MembershipEffect[] = [];
  #changed = new Set<PeerId>();

  send(peer: PeerId, ...messages: readonly MeshMessage[]): void {
    for (const message of messages) {
      this.#effects.push({ type: 'send', peer, message });
    }
  }

  dial(peer: PeerId, addresses: readonly string[]): void {
    this.#effects.push({ type: 'dial', peer, addresses });
  }

  disconnect(peer: PeerId, reason: string): void {
    this.#effects.push({ type: 'disconnect', peer, reason });
  }

  broadcast(envelope: Uint8Array): void {
    this.#effects.push({ type: 'broadcast', envelope });
  }

  remember(): void {
    this.#effects.push({ type: 'remember' });
  }

  notice(notice: MembershipNotice): void {
    this.#effects.push({ type: 'notice', notice });
  }

  /** What is known of this peer has changed; told once a step. */
  changed(peer: PeerId): void {
    this.#changed.add(peer);
  }

  /** All of it; the outbox is empty then. */
  drain(): MembershipEffect[] {
    if (this.#changed.size > 0) {
      this.notice({ type: 'changed', peers: [...this.#changed] });
      this.#changed = new Set();
    }
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }
}
