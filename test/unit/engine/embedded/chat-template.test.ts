import { describe, expect, it } from 'vitest';
import { ChatTemplate, fallbackTemplate } from '../../../../src/engine/embedded/chat-template.ts';
import type { ChatMessage } from '../../../../src/inference/request.ts';

const special = { bos: '<s>', eos: '</s>' };
const message = (role: 'system' | 'user' | 'assistant', text: string): ChatMessage => ({
  role,
  content: [{ type: 'text', text }],
});

describe('ChatTemplate', () => {
  it('renders ChatML where a model brings no template', () => {
    const template = new ChatTemplate(fallbackTemplate, special);
    expect(template.render([message('system', 'Be brief.'), message('user', 'Hi')])).toBe(
      '<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n',
    );
  });

  it('leaves a trailing assistant message open to be continued', () => {
    const template = new ChatTemplate(fallbackTemplate, special);
    expect(template.continues).toBe(true);
    expect(template.render([message('user', 'Hi'), message('assistant', 'Hel')])).toMatch(/assistant\nHel$/);
  });

  it('knows a template that does not write answers after its generation prompt', () => {
    const template = new ChatTemplate(
      '{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[reply]{% endif %}',
      special,
    );
    expect(template.continues).toBe(false);
  });

  it('gives the template its special tokens', () => {
    expect(new ChatTemplate('{{ bos_token }}x{{ eos_token }}', special).render([])).toBe('<s>x</s>');
  });

  it('says why a template refuses the messages', () => {
    const template = new ChatTemplate("{{ raise_exception('Roles must alternate') }}", special);
    expect(() => template.render([message('user', 'Hi')])).toThrow('Roles must alternate');
  });

  it('refuses a text that is no template', () => {
    expect(() => new ChatTemplate('{% for %}', special)).toThrow('cannot be read');
  });
});
