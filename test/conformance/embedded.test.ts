// OpenAI's surfaces over the embedded engine.
import { describeChats } from './chats.ts';
import { describeCompletionsAndLists } from './completions-and-lists.ts';

describeChats('embedded');
describeCompletionsAndLists('embedded');
