// Renders a chat into the prompt text of a model, by the template its GGUF brings. Templates come from
// strangers: they run in a sandboxed Jinja interpreter, inside the model's own process.
import { Template } from '@huggingface/jinja';
import type { ChatMessage } from '../../inference/request.ts';
import { MeshnodeError } from '../../util/errors.ts';

/** The template of a model that brings none: ChatML, which most tools assume then. */
export const fallbackTemplate = [
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}",
  "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
].join('');

export interface SpecialTexts {
  readonly bos: string;
  readonly eos: string;
}

export class ChatTemplate {
  readonly #template: Template;
  readonly #special: SpecialTexts;
  /**
   * Whether an unfinished assistant message at the end is continued: true if the template writes an
   * answer right after its generation prompt, which is tried once here.
   */
  readonly continues: boolean;

  /** Throws `model_failed` if the text is no template. */
  constructor(text: string, special: SpecialTexts) {
    try {
      this.#template = new Template(text);
    } catch (cause) {
      throw new MeshnodeError('model_failed', "The model's chat template cannot be read.", { cause });
    }
    this.#special = special;
    this.continues = this.#probeContinuation();
  }

  /** The prompt for `messages`. A trailing assistant message is left open to be continued. */
  render(messages: readonly ChatMessage[]): string {
    const last = messages.at(-1);
    if (last?.role === 'assistant' && this.continues) {
      return this.#render(messages.slice(0, -1), true) + textOf(last);
    }
    return this.#render(messages, true);
  }

  #render(messages: readonly ChatMessage[], addGenerationPrompt: boolean): string {
    try {
      return this.#template.render({
        messages: messages.map((message) => ({ role: message.role, content: textOf(message) })),
        add_generation_prompt: addGenerationPrompt,
        bos_token: this.#special.bos,
        eos_token: this.#special.eos,
      });
    } catch (cause) {
      // Templates refuse what their model was not trained on, e.g. two user messages in a row.
      const reason = cause instanceof Error ? cause.message.slice(0, 200) : 'it failed';
      throw new MeshnodeError(
        'invalid_request',
        `The model's chat template refuses these messages: ${reason}`,
        {
          param: 'messages',
          cause,
        },
      );
    }
  }

  #probeContinuation(): boolean {
    const question: ChatMessage = { role: 'user', content: [{ type: 'text', text: 'question' }] };
    const answer: ChatMessage = { role: 'assistant', content: [{ type: 'text', text: 'answer' }] };
    try {
      const open = this.#render([question], true);
      return this.#render([question, answer], false).startsWith(`${open}answer`);
    } catch {
      return false;
    }
  }
}

function textOf(message: ChatMessage): string {
  return message.content.map((part) => (part.type === 'text' ? part.text : '')).join('');
}
