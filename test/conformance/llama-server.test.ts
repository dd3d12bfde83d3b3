// OpenAI's surfaces over the llama-server engine.
import { describe } from 'vitest';
import { nativeSearch } from '../support/llama-server.ts';
import { describeChats } from './chats.ts';
import { describeCompletionsAndLists } from './completions-and-lists.ts';

const { programs } = await nativeSearch();

describe.skipIf(programs === undefined)('with llama-server', () => {
  describeChats('llama-server');
  describeCompletionsAndLists('llama-server');
});
