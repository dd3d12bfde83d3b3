// A signature check that is asked for the same signature by every node of a simulation, and answers it once.
import type { SignatureCheck } from '../../src/trust/keys.ts';

/** As `check`, which is a pure function, but each question is put to it only once. */
export function rememberingCheck(check: SignatureCheck): SignatureCheck {
  const answers = new Map<string, { readonly question: Buffer; readonly answer: boolean }[]>();
  return (publicKey, message, signature) => {
    const key = Buffer.from(signature).toString('latin1');
    const question = Buffer.concat([publicKey, message]);
    const known = answers.get(key) ?? [];
    const held = known.find((entry) => entry.question.equals(question));
    if (held !== undefined) {
      return held.answer;
    }
    const answer = check(publicKey, message, signature);
    answers.set(key, [...known, { question, answer }]);
    return answer;
  };
}
