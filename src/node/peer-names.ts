// Which peer a person means: by its id, by a beginning or an end of it that only one has, or by its name. Pure.
import { MeshnodeError } from '../util/errors.ts';
import { nodeLimits } from '../util/limits/node.ts';

/** The id of the one peer that `text` names. Throws `peer_unknown`, also if it names several. */
export function findPeer(text: string, peers: readonly { peerId: string; name: string }[]): string {
  const exact = peers.find(({ peerId }) => peerId === text);
  if (exact !== undefined) {
    return exact.peerId;
  }
  const isPart = text.length >= nodeLimits.shortIdLength;
  const named = peers.filter(
    ({ peerId, name }) => name === text || (isPart && (peerId.startsWith(text) || peerId.endsWith(text))),
  );
  const [only, ...others] = named;
  if (only === undefined) {
    throw new MeshnodeError('peer_unknown', `There is no peer '${text}' in this mesh.`);
  }
  if (others.length > 0) {
    throw new MeshnodeError('peer_unknown', `'${text}' names ${named.length} peers: use the id of one.`);
  }
  return only.peerId;
}
