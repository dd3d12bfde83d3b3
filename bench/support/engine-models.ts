// The models that the bench of the engines runs, and what they are asked.
import { join } from 'node:path';
import type { ModelFile } from '../../src/engine/engine.ts';
import { writeSyntheticShape } from '../../src/models/synthetic-shape.ts';
import { encodeText, specialTokens } from '../../src/models/synthetic-tokenizer.ts';
import type { Random } from '../../src/util/random.ts';
import { demoModelPath } from '../../test/support/demo-models.ts';
import type { Round } from './engine-round.ts';

export const shortTokens = 16;
const longTokens = 256;

/** A model, and how much of it fits in a run of a few minutes. */
export interface BenchModel extends ModelFile {
  /** Prompts timed for the first token. */
  readonly firstTokens: ReadonlyArray<{ readonly promptTokens: number; readonly samples: number }>;
  /** Tokens of each stream of a round: as many as take about a second. */
  readonly tokens: number;
}

/** The demo model, and one of random weights that is written to `folder`. */
export async function makeModels(folder: string, seed: number): Promise<BenchModel[]> {
  const path = join(folder, 'synthetic.gguf');
  await writeSyntheticShape(path, '0.5B', seed);
  return [
    {
      name: 'demo',
      path: demoModelPath('demo'),
      firstTokens: [{ promptTokens: shortTokens, samples: 50 }],
      tokens: 256,
    },
    {
      name: '0.5B',
      path,
      firstTokens: [
        { promptTokens: shortTokens, samples: 5 },
        { promptTokens: longTokens, samples: 5 },
      ],
      tokens: 24,
    },
  ];
}

/** A single token for a prompt of random letters: one that no cache holds. Both models' tokens are bytes. */
export function freshRound(promptTokens: number, random: Random): Round {
  const letter = (): string => String.fromCharCode('a'.charCodeAt(0) + Math.floor(random.float() * 26));
  return { prompts: [encodeText(Array.from({ length: promptTokens }, letter).join(''))], tokens: 1 };
}

/** In every stream the chat whose answer the demo model never ends; the one of random weights ends late enough. */
export function endlessRound(streams: number, tokens: number): Round {
  const { messageStart, messageEnd } = specialTokens;
  const prompt = [
    ...[messageStart, ...encodeText('user\nCount for ever.'), messageEnd, ...encodeText('\n')],
    ...[messageStart, ...encodeText('assistant\n')],
  ];
  return { prompts: Array.from({ length: streams }, () => prompt), tokens };
}
