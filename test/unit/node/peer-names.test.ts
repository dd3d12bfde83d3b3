import { describe, expect, it } from 'vitest';
import { findPeer } from '../../../src/node/peer-names.ts';
import { thrownBy } from '../../support/thrown.ts';

const peers = [
  { peerId: '12D3KooWaaaaaaXXXXXX', name: 'ada' },
  { peerId: '12D3KooWbbbbbbYYYYYY', name: 'bee' },
  { peerId: '12D3KooWbbbbbbZZZZZZ', name: 'bee' },
];

describe('a peer is found', () => {
  it.each([
    ['its name', 'ada', 0],
    ['its id', '12D3KooWbbbbbbYYYYYY', 1],
    ['the beginning of its id', '12D3KooWa', 0],
    ['the end of its id', 'ZZZZZZ', 2],
  ])('by %s', (_how, text, index) => {
    expect(findPeer(text, peers)).toBe(peers[index]?.peerId);
  });

  it.each([
    ['nobody has it', 'cleo', 'no peer'],
    ['it is too short', 'ZZZZZ', 'no peer'],
    ['two have the name', 'bee', '2 peers'],
    ['two ids begin so', '12D3KooWbbbbbb', '2 peers'],
  ])('unless %s', (_why, text, says) => {
    const error = thrownBy(() => findPeer(text, peers));
    expect(error.code).toBe('peer_unknown');
    expect(error.message).toContain(says);
  });
});
