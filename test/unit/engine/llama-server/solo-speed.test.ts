import { describe, expect, it } from 'vitest';
import { SoloSpeed } from '../../../../src/engine/llama-server/solo-speed.ts';
import { engineLimits } from '../../../../src/util/limits/engine.ts';

const bytes = 1e9;
const enough = engineLimits.soloTokens;

describe('the speed of answers that run alone', () => {
  it('is the median of the last ones, in bytes of weights', () => {
    const speed = new SoloSpeed(bytes);
    expect(speed.weightBytesPerSecond).toBeUndefined();
    for (const tokensPerSecond of [10, 90, 20]) {
      speed.end(speed.begin(1), enough, tokensPerSecond);
    }
    expect(speed.weightBytesPerSecond).toBe(20 * bytes);
    for (let answer = 0; answer < engineLimits.soloAnswers; answer++) {
      speed.end(speed.begin(1), enough, 5);
    }
    expect(speed.weightBytesPerSecond).toBe(5 * bytes);
  });

  it('is not told by answers beside others, whichever began first', () => {
    const speed = new SoloSpeed(bytes);
    const first = speed.begin(1);
    const second = speed.begin(2);
    speed.end(second, enough, 7);
    speed.end(first, enough, 7);
    expect(speed.weightBytesPerSecond).toBeUndefined();
  });

  it('is not told by a few tokens, nor by a model so small that its overhead would be measured', () => {
    const speed = new SoloSpeed(bytes);
    speed.end(speed.begin(1), enough - 1, 7);
    expect(speed.weightBytesPerSecond).toBeUndefined();
    const small = new SoloSpeed(engineLimits.soloBytes - 1);
    small.end(small.begin(1), enough, 7);
    expect(small.weightBytesPerSecond).toBeUndefined();
  });
});
