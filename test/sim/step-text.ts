// One step of a node as a line for a person.
import type {
  MembershipEffect,
  MembershipEvent,
  MembershipNotice,
} from '../../src/mesh/membership-events.ts';
import type { PeerId } from '../../src/trust/keys.ts';

type Names = ReadonlyMap<PeerId, string>;

export function describeStep(
  event: MembershipEvent,
  effects: readonly MembershipEffect[],
  names: Names,
): string {
  const came = effects.map((effect) => effectText(effect, names)).join(', ');
  return came === '' ? eventText(event, names) : `${eventText(event, names)} -> ${came}`;
}

function eventText(event: MembershipEvent, names: Names): string {
  switch (event.type) {
    case 'linked':
    case 'unlinked':
      return `${event.type} ${nameOf(event.peer, names)}`;
    case 'dial-failed':
      return `dial-failed ${nameOf(event.peer, names)} ${event.code}`;
    case 'message':
      return `${event.message.type} from ${nameOf(event.peer, names)}`;
    case 'heard':
      return `heard ${event.envelope.length} bytes by ${nameOf(event.peer, names)}`;
    default:
      return event.type;
  }
}

function effectText(effect: MembershipEffect, names: Names): string {
  switch (effect.type) {
    case 'send':
      return `${effect.message.type} to ${nameOf(effect.peer, names)}`;
    case 'dial':
    case 'disconnect':
      return `${effect.type} ${nameOf(effect.peer, names)}`;
    case 'broadcast':
      return `broadcast ${effect.envelope.length} bytes`;
    case 'remember':
      return 'remember';
    case 'notice':
      return noticeText(effect.notice, names);
  }
}

function noticeText(notice: MembershipNotice, names: Names): string {
  const word = notice.type.toUpperCase();
  switch (notice.type) {
    case 'changed':
      return `${word} ${notice.peers.map((peer) => nameOf(peer, names)).join(' ')}`;
    case 'refused':
    case 'rejected':
      return `${word} ${nameOf(notice.peer, names)} ${notice.code}: ${notice.message}`;
    case 'expelled':
      return `${word} ${notice.code}`;
    case 'joined':
    case 'key-conflict':
      return word;
    default:
      return `${word} ${nameOf(notice.peer, names)}`;
  }
}

function nameOf(peer: PeerId, names: Names): string {
  return names.get(peer) ?? peer.slice(-6);
}
