// Lets libp2p's compliance suites, written for mocha and chai, run under vitest: the globals they expect, and
// the chai they import as `aegir/chai` (see vitest.config.ts).
import * as chai from 'chai';
import { afterEach, beforeEach, describe, it } from 'vitest';

/** What mocha calls a test with as `this`. */
interface MochaContext {
  timeout(ms: number): void;
  skip(): void;
}

/** Longest time of one test: a suite sets its own from inside, which vitest has no means for. */
const testTimeoutMs = 60_000;

/** Puts mocha's names in place, for suites that take them from the global scope. */
export function provideMochaGlobals(): void {
  Object.assign(globalThis, {
    describe,
    beforeEach,
    afterEach,
    it: (name: string, body: (this: MochaContext) => unknown) =>
      it(name, { timeout: testTimeoutMs }, async (context) => {
        await body.call({ timeout: () => {}, skip: () => context.skip() });
      }),
  });
}

// It comes without types, so it is imported by a name that the compiler does not follow.
const chaiAsPromised: string = 'chai-as-promised';
const { default: promises }: { default: Chai.ChaiPlugin } = await import(chaiAsPromised);
chai.use(promises);
chai.use(({ Assertion }, { addMethod }) => {
  addMethod(Assertion.prototype, 'equalBytes', function (this: Chai.AssertionStatic, expected: Uint8Array) {
    const actual: unknown = this._obj;
    this.assert(
      actual instanceof Uint8Array && Buffer.compare(actual, expected) === 0,
      'expected the same bytes',
      'expected other bytes',
      expected,
    );
  });
  // The suites call what chai has as properties.
  for (const name of ['empty', 'rejected']) {
    const assertIt = Object.getOwnPropertyDescriptor(Assertion.prototype, name)?.get;
    Object.defineProperty(Assertion.prototype, name, {
      configurable: true,
      value(this: object) {
        return assertIt?.call(this);
      },
    });
  }
});

export const { expect } = chai;
