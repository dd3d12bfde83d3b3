// The tokenizer of every model this project makes: one token a byte, no merges, and a few special tokens.
// Its ids are a contract with the trained demo models: they are added, never moved.

import type { GgufMetadata, GgufValue } from './gguf.ts';
import { arrayValue, boolValue, stringValue, uint32Value } from './gguf-values.ts';

/** Ids of the special tokens. Ids 0 to 255 are the bytes, id = byte value. */
export const specialTokens = {
  endOfText: 256,
  messageStart: 257,
  messageEnd: 258,
  padding: 259,
} as const;

/** Entries of the vocabulary; those above the special tokens are unused and make the number even. */
export const vocabularySize = 288;

/** How a chat is written out: ChatML, ending with the head of the assistant's message. */
export const chatTemplate = [
  '{% for message in messages %}',
  "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}",
  '{% endfor %}',
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
].join('');

/** llama.cpp's kinds of tokens. */
const tokenKinds = { normal: 1, control: 3, unused: 5 } as const;

const specialTexts = ['<|endoftext|>', '<|im_start|>', '<|im_end|>', '<|pad|>'];

/** Whether a model of ours may say this token: printable ASCII, or the end of the text or message. */
export function isSayable(id: number): boolean {
  return (id >= 0x20 && id <= 0x7e) || id === specialTokens.endOfText || id === specialTokens.messageEnd;
}

/** Ids of the bytes of a text's UTF-8: what the tokenizer gives when no special token is meant. */
export function encodeText(text: string): number[] {
  return [...Buffer.from(text, 'utf8')];
}

/** What a tokenizer's metadata may vary in. */
export interface TokenizerOptions {
  /** Entries of the vocabulary; more are filled with unused tokens. */
  readonly size?: number;
  /** Absent: the model is none to chat with. */
  readonly chatTemplate?: string;
}

/** The tokenizer's metadata, ready to be written into a GGUF. */
export function tokenizerMetadata(options: TokenizerOptions = {}): GgufMetadata {
  const size = options.size ?? vocabularySize;
  const texts = Array.from({ length: size }, (_, id) => tokenText(id));
  const kinds = Array.from({ length: size }, (_, id) => tokenKind(id));
  const entries: Array<[string, GgufValue]> = [
    ['tokenizer.ggml.model', stringValue('gpt2')],
    // Of the splits llama.cpp knows, one after which no spaces are cleaned away; without merges the split
    // itself changes nothing.
    ['tokenizer.ggml.pre', stringValue('qwen2')],
    ['tokenizer.ggml.tokens', arrayValue('string', texts)],
    ['tokenizer.ggml.token_type', arrayValue('int32', kinds)],
    ['tokenizer.ggml.merges', arrayValue('string', [])],
    ['tokenizer.ggml.bos_token_id', uint32Value(specialTokens.endOfText)],
    ['tokenizer.ggml.eos_token_id', uint32Value(specialTokens.endOfText)],
    ['tokenizer.ggml.eot_token_id', uint32Value(specialTokens.messageEnd)],
    ['tokenizer.ggml.padding_token_id', uint32Value(specialTokens.padding)],
    ['tokenizer.ggml.add_bos_token', boolValue(false)],
    ['tokenizer.ggml.add_eos_token', boolValue(false)],
  ];
  if (options.chatTemplate !== undefined) {
    entries.push(['tokenizer.chat_template', stringValue(options.chatTemplate)]);
  }
  return new Map(entries);
}

function tokenText(id: number): string {
  return id < 256 ? byteText(id) : (specialTexts[id - 256] ?? `<|unused_${id}|>`);
}

function tokenKind(id: number): number {
  if (id < 256) {
    return tokenKinds.normal;
  }
  return id < 256 + specialTexts.length ? tokenKinds.control : tokenKinds.unused;
}

/**
 * The character that stands for a byte in a GPT-2 vocabulary: itself where it is printable in Latin-1,
 * else the next free one from U+0100 on.
 */
function byteText(byte: number): string {
  if (isPrintable(byte)) {
    return String.fromCharCode(byte);
  }
  let hidden = 0;
  for (let smaller = 0; smaller < byte; smaller++) {
    hidden += isPrintable(smaller) ? 0 : 1;
  }
  return String.fromCharCode(256 + hidden);
}

function isPrintable(byte: number): boolean {
  return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}
