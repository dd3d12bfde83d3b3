// The one suite that every engine passes: what a LoadedModel promises, tested through nothing but its
// interface. A test is skipped only for what the engine does not declare, and then its refusal is tested.
import { afterAll, beforeAll, describe } from 'vitest';
import type { LoadedModel } from '../../src/engine/engine.ts';
import { testConstraints } from './engine-compliance-constraints.ts';
import { testGeneration } from './engine-compliance-generation.ts';
import { testLifecycle } from './engine-compliance-lifecycle.ts';
import { testLists } from './engine-compliance-lists.ts';
import { testRefusals } from './engine-compliance-refusals.ts';

/** An engine as the suite sees it. */
export interface EngineUnderTest {
  readonly model: LoadedModel;
  readonly expects: EngineExpectations;
  /** Ends the engine's process, as a crash does. Absent: there is none that could crash. */
  crash?(): Promise<void>;
  /** Frees everything, after unload too. */
  close(): Promise<void>;
}

/** What cannot be read from the model's capabilities. */
export interface EngineExpectations {
  /** A chat prompt whose answer ends by itself within 200 tokens. */
  readonly endingPrompt: string;
  /** A chat prompt whose answer is still going on after 1000 tokens. */
  readonly endlessPrompt: string;
  /** A text whose continuation is still going on after 1000 tokens. Absent: `endlessPrompt`. */
  readonly endlessText?: string;
  /** Equal greedy requests have equal answers. */
  readonly deterministic: boolean;
  /** Requests answered at the same time. */
  readonly slots: number;
  /** What happens to one request more. */
  readonly whenFull: 'queue' | 'refuse';
  /** A repeated prompt is not computed again, and the counts say so. */
  readonly reusesPrefix: boolean;
  /** Answers come with counts of their tokens. */
  readonly countsTokens: boolean;
  /** Ids of generated tokens are those that `tokenize` gives for the text. */
  readonly tokenizesItsAnswers?: boolean;
  /** Vectors have length one. */
  readonly normalisedVectors?: boolean;
  /** Rerank scores mean something. */
  readonly ranksByRelevance?: boolean;
}

/** What the groups of tests share. */
export interface Suite {
  /** The engine that all tests use which do not end it. */
  engine(): EngineUnderTest;
  /** Another one, for a test that ends it. */
  make(): Promise<EngineUnderTest>;
}

/**
 * Declares the whole suite for an engine whose model answers chats at least. `make` is called once for the
 * suite and once for each test that ends a model.
 */
export function describeEngine(
  name: string,
  make: () => Promise<EngineUnderTest>,
  options: { timeoutMs?: number } = {},
): void {
  describeSuite(`${name} as an engine`, make, options.timeoutMs, [
    testGeneration,
    testConstraints,
    testRefusals,
    testLists,
    testLifecycle,
  ]);
}

/** Declares what applies to a model that only embeds or ranks. */
export function describeListEngine(
  name: string,
  make: () => Promise<EngineUnderTest>,
  options: { timeoutMs?: number } = {},
): void {
  describeSuite(`${name} as an engine of lists`, make, options.timeoutMs, [testRefusals, testLists]);
}

function describeSuite(
  title: string,
  make: () => Promise<EngineUnderTest>,
  timeoutMs = 10_000,
  groups: ReadonlyArray<(suite: Suite) => void>,
): void {
  describe(title, { timeout: timeoutMs }, () => {
    let shared: EngineUnderTest | undefined;
    beforeAll(async () => {
      shared = await make();
    });
    afterAll(async () => {
      await shared?.close();
    });
    const suite: Suite = {
      engine() {
        if (shared === undefined) {
          throw new Error('the engine was not made');
        }
        return shared;
      },
      make,
    };
    for (const declareTests of groups) {
      declareTests(suite);
    }
  });
}
