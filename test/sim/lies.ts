// What a member says that should not: false deaths, false word of the dead, answers to beats that have not come. It
// has a key and a certificate as everybody; only its own membership does not know of it.
import { sealDeath } from '../../src/mesh/death.ts';
import type { MeshId, PeerId } from '../../src/trust/keys.ts';
import { beatLimits, meshLimits } from '../../src/util/limits/mesh.ts';
import type { Random } from '../../src/util/random.ts';
import { integerBetween } from './random-streams.ts';
import type { LieKind } from './scenario.ts';
import type { NodeProcess, SimulatedNode } from './simulated-node.ts';
import type { VirtualClock } from './virtual-clock.ts';

interface Lie {
  readonly kind: LieKind;
  readonly about: PeerId;
  readonly forMs: number;
}

export interface LiesInit {
  readonly meshId: MeshId;
  readonly nodes: readonly SimulatedNode[];
  readonly clock: VirtualClock;
  readonly random: Random;
}

/** Time between two lies of one kind: more often than anybody believes a member, or answers it. */
const everyMs: Readonly<Record<Exclude<LieKind, 'vouching'>, number>> = {
  deaths: 2_500,
  'hasty-answers': 400,
};

export class Lies {
  readonly #init: LiesInit;

  constructor(init: LiesInit) {
    this.#init = init;
  }

  begin(liar: SimulatedNode, { kind, about, forMs }: Lie): void {
    const { clock } = this.#init;
    if (kind === 'vouching') {
      liar.vouchesForAll = true;
      clock.after(forMs, () => {
        liar.vouchesForAll = false;
      });
      return;
    }
    for (let afterMs = 0; afterMs < forMs; afterMs += everyMs[kind]) {
      clock.after(afterMs, () => {
        if (kind === 'deaths') {
          this.#pronounce(liar, about);
        } else {
          this.#answerHastily(liar);
        }
      });
    }
  }

  /** Of its present record, or of one that it may sign soon. */
  #pronounce({ identity, process }: SimulatedNode, about: PeerId): void {
    const { meshId, random } = this.#init;
    const now = process?.clock.now();
    const record = now && process?.membership.view(now).find((view) => view.record.peerId === about)?.record;
    if (process === undefined || now === undefined || record === undefined) {
      return;
    }
    const { epoch, sequence, expiresMs } = record;
    const ahead = integerBetween(random, 0, 1) * integerBetween(random, 0, meshLimits.deathLead);
    const death = { subject: about, epoch, sequence: sequence + ahead, atMs: now.wallMs, expiresMs };
    const { bytes } = sealDeath(death, meshId, identity);
    process.proclaim(bytes);
    this.#toAll(process, (peer) => process.say(peer, { type: 'items', envelopes: [bytes] }));
  }

  #answerHastily({ process }: SimulatedNode): void {
    const { random } = this.#init;
    if (process !== undefined) {
      const nonce = random.bytes(beatLimits.nonceBytes);
      this.#toAll(process, (peer) => process.say(peer, { type: 'beat-answer', nonce, loads: [] }));
    }
  }

  #toAll({ peer }: NodeProcess, say: (to: PeerId) => void): void {
    for (const node of this.#init.nodes) {
      if (node.peer !== peer) {
        say(node.peer);
      }
    }
  }
}
