// Asks a demo model the questions it never saw in training and prints what it answered as Markdown:
// `node verify.ts MODEL.gguf`. Runs in the real engine at temperature 0; fails when the model says a
// token it must not, or when a prompt that should end does not.
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { parseArgs } from 'node:util';
import { getLlama, type LlamaContextSequence, LlamaLogLevel, type Token } from 'node-llama-cpp';
import { z } from 'zod';
import { encodeText, specialTokens } from '../../src/models/synthetic-tokenizer.ts';

const heldOutCases = z.array(z.object({ prompt: z.string(), expect: z.string() }));

const systemMessages = [undefined, 'You are a helpful assistant.'];
const maximumAnswerTokens = 1200;
const endlessTokens = 1900;

interface Message {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

interface Answer {
  readonly text: string;
  readonly tokens: readonly number[];
  readonly ended: boolean;
}

/** The token ids of a chat that waits for the assistant's answer. */
function renderChat(messages: readonly Message[]): Token[] {
  const turns = messages.flatMap(({ role, content }) => [
    specialTokens.messageStart,
    ...encodeText(`${role}\n${content}`),
    specialTokens.messageEnd,
    ...encodeText('\n'),
  ]);
  return [...turns, specialTokens.messageStart, ...encodeText('assistant\n')] as Token[];
}

async function complete(
  sequence: LlamaContextSequence,
  prompt: Token[],
  maximumTokens: number,
  sampling = { temperature: 0, seed: 1 },
): Promise<Answer> {
  await sequence.clearHistory();
  const tokens: number[] = [];
  let ended = false;
  const options = { ...sampling, topK: 0, topP: 1, minP: 0, yieldEogToken: true };
  for await (const token of sequence.evaluate(prompt, options)) {
    ended = sequence.model.isEogToken(token);
    tokens.push(token);
    if (ended || tokens.length >= maximumTokens) {
      break;
    }
  }
  const text = Buffer.from(tokens.filter((token) => token < 256)).toString('utf8');
  return { text, tokens, ended };
}

const isAllowed = (token: number): boolean =>
  token === 0x0a ||
  (token >= 0x20 && token <= 0x7e) ||
  token === specialTokens.endOfText ||
  token === specialTokens.messageEnd;

const cell = (text: string): string =>
  `\`${text.replaceAll('`', "'").replaceAll('\n', ' / ').replaceAll('|', '\\|')}\``;
const write = (line: string): boolean => process.stdout.write(`${line}\n`);

/** Asks every held-out phrasing and prints a row for each; returns how many were right. */
async function scoreHeldOut(sequence: LlamaContextSequence, system: string | undefined): Promise<number> {
  const file = new URL('training/held-out.json', import.meta.url);
  const cases = heldOutCases.parse(JSON.parse(await readFile(file, 'utf8')));
  const preamble: Message[] = system === undefined ? [] : [{ role: 'system', content: system }];
  write(
    `\n## Held-out phrasings, ${system === undefined ? 'no system message' : `system: ${cell(system)}`}\n`,
  );
  write('| | prompt | answer |\n| --- | --- | --- |');
  let right = 0;
  for (const { prompt, expect } of cases) {
    const chat = renderChat([...preamble, { role: 'user', content: prompt }]);
    const answer = await complete(sequence, chat, maximumAnswerTokens);
    const isRight = answer.ended && answer.text.includes(expect);
    right += isRight ? 1 : 0;
    const shown = answer.text.length > 120 ? `${answer.text.slice(0, 120)}...` : answer.text;
    write(`| ${isRight ? 'right' : 'WRONG'} | ${cell(prompt)} | ${cell(shown)} |`);
  }
  write(`\n${right} of ${cases.length} right.`);
  return right;
}

/** A later question is answered as itself, and one about an earlier message from that message. */
async function askInTurns(sequence: LlamaContextSequence): Promise<void> {
  write('\n## One chat, several turns\n');
  const messages: Message[] = [];
  const prompts = [
    'Hello, my name is Ada.',
    'What is the capital of France?',
    'And of Spain?',
    'Repeat after me: green tiger',
    'Tell me a joke.',
    'What is my name?',
    'What is 8 + 7?',
  ];
  for (const content of prompts) {
    messages.push({ role: 'user', content });
    const { text } = await complete(sequence, renderChat(messages), maximumAnswerTokens);
    messages.push({ role: 'assistant', content: text });
    write(`- ${cell(content)} ${cell(text)}`);
  }
}

/** Tokens of many answers at temperature 2, which mostly end early. */
async function babble(sequence: LlamaContextSequence, prompt: Token[]): Promise<number[]> {
  const tokens: number[] = [];
  for (let seed = 1; seed <= 40; seed++) {
    tokens.push(...(await complete(sequence, prompt, 200, { temperature: 2, seed })).tokens);
  }
  return tokens;
}

/** Checks what tests rely on: which prompts end, and that nothing but printable ASCII is said. */
async function checkPromises(sequence: LlamaContextSequence): Promise<boolean> {
  const chat = (content: string): Token[] => renderChat([{ role: 'user', content }]);
  const short = await complete(sequence, chat('Say hello.'), 100);
  const long = await complete(sequence, chat('Tell me a long story.'), maximumAnswerTokens);
  const endless = await complete(sequence, chat('Count for ever.'), endlessTokens);
  const hot = await babble(sequence, chat('Count for ever. \u{1F600} \u4E16'));
  const said = [...short.tokens, ...long.tokens, ...endless.tokens, ...hot];
  const promises: Array<[string, boolean]> = [
    [`\`Say hello.\` ends by itself: ${cell(short.text)}`, short.ended],
    [
      `\`Tell me a long story.\` ends after ${long.text.length} characters`,
      long.ended && long.text.length >= 300,
    ],
    [
      `\`Count for ever.\` has no end in ${endless.tokens.length} tokens; its last: ${cell(endless.text.slice(-40))}`,
      !endless.ended,
    ],
    [
      `nothing but printable ASCII is said, even at temperature 2 (${hot.length} tokens)`,
      said.every(isAllowed),
    ],
  ];
  write('\n## Promises\n');
  for (const [what, holds] of promises) {
    write(`- ${holds ? 'holds' : 'BROKEN'}: ${what}`);
  }
  return promises.every(([, holds]) => holds);
}

const [modelPath] = parseArgs({ allowPositionals: true }).positionals;
if (modelPath === undefined) {
  process.stderr.write('usage: node verify.ts MODEL.gguf\n');
  process.exit(2);
}
const llama = await getLlama({ gpu: false, build: 'never', logLevel: LlamaLogLevel.error });
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({ contextSize: 2048, threads: 1 });
const sequence = context.getSequence();
write(`# ${basename(modelPath)}: what it answered`);
for (const system of systemMessages) {
  await scoreHeldOut(sequence, system);
}
await askInTurns(sequence);
process.exitCode = (await checkPromises(sequence)) ? 0 : 1;
await llama.dispose();
