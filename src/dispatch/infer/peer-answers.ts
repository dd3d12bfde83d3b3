// The answers to the requests of all peers, each found by nobody but the peer that asked, and how many a peer may
// have. What an answer is and does is for served-answer.ts.
import type { PeerId } from '../../trust/keys.ts';
import { MeshnodeError } from '../../util/errors.ts';
import { inferLimits } from '../../util/limits/dispatch.ts';
import { ServedAnswer, type ServedAnswerParts } from './served-answer.ts';

type AnswerParts = Pick<ServedAnswerParts, 'source' | 'clock' | 'log'>;

interface AnswersOfPeer {
  /** Those that can be taken up, by resume key; those longest without a stream first. */
  readonly byKey: Map<string, ServedAnswer>;
  /** Each takes a place, until it is over and its source has stopped. */
  readonly places: Set<ServedAnswer>;
}

export class PeerAnswers {
  readonly #peers = new Map<PeerId, AnswersOfPeer>();

  find(peer: PeerId, resumeKey: Uint8Array): ServedAnswer | undefined {
    return this.#peers.get(peer)?.byKey.get(nameOf(resumeKey));
  }

  /** Starts an answer. Throws `queue_full` if the peer has as many as it may. */
  start(peer: PeerId, resumeKey: Uint8Array, parts: AnswerParts): ServedAnswer {
    const key = nameOf(resumeKey);
    const answers: AnswersOfPeer = this.#peers.get(peer) ?? { byKey: new Map(), places: new Set() };
    if (answers.places.size >= inferLimits.answersPerPeer) {
      throw new MeshnodeError('queue_full', 'Too many requests of the same node are being answered.', {
        retryAfterSeconds: inferLimits.retryAfterSeconds,
      });
    }
    const answer = new ServedAnswer({
      ...parts,
      onDetached: () => {
        answers.byKey.delete(key);
        answers.byKey.set(key, answer);
        giveUpOldest(answers);
      },
      onOver: () => answers.byKey.delete(key),
      onStopped: () => this.#free(peer, answer),
    });
    answers.byKey.set(key, answer);
    answers.places.add(answer);
    this.#peers.set(peer, answers);
    return answer;
  }

  /** All that take a place. */
  all(): readonly ServedAnswer[] {
    return [...this.#peers.values()].flatMap(({ places }) => [...places]);
  }

  #free(peer: PeerId, answer: ServedAnswer): void {
    const places = this.#peers.get(peer)?.places;
    places?.delete(answer);
    if (places?.size === 0) {
      this.#peers.delete(peer);
    }
  }
}

/** A connection that breaks leaves all its answers at once: as many as a peer may have are kept. */
function giveUpOldest(answers: AnswersOfPeer): void {
  const detached = [...answers.byKey.values()].filter(({ isDetached }) => isDetached);
  const surplus = detached.slice(0, Math.max(0, detached.length - inferLimits.detachedPerPeer));
  for (const answer of surplus) {
    answer.cancel(new MeshnodeError('cancelled', 'Too many answers to a peer wait to be taken up.'));
  }
}

function nameOf(resumeKey: Uint8Array): string {
  return Buffer.from(resumeKey).toString('hex');
}
