// A demo model with another chat template: what an engine does with tools and reasoning depends on nothing else.
import { open } from 'node:fs/promises';
import type { GgufMetadata } from '../../src/models/gguf.ts';
import { readGguf } from '../../src/models/gguf-reader.ts';
import { writeGguf } from '../../src/models/gguf-writer.ts';
import { demoModelPath } from './demo-models.ts';

/** Messages between marks, tools in a message of the system, calls between tags. */
export const toolTemplate = `
{%- if tools %}{{ '<|im_start|>system\\nTools:\\n' }}
{%- for tool in tools %}{{ tool | tojson }}{{ '\\n' }}{% endfor %}
{{- 'To call one, answer <tool_call>\\n{"name": ..., "arguments": ...}\\n</tool_call><|im_end|>\\n' }}{% endif %}
{%- for message in messages %}
{%- if message.role == 'tool' %}
{{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}
{%- elif message.role == 'assistant' and message.tool_calls %}
{{- '<|im_start|>assistant\\n' + (message.content or '') }}
{%- for call in message.tool_calls %}
{{- '<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' + (call.function.arguments | tojson) + '}\\n</tool_call>' }}
{%- endfor %}{{ '<|im_end|>\\n' }}
{%- else %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}`;

/** Writes a copy of a demo model with `template` to `path`, and returns it. */
export async function writeRetemplated(name: string, template: string, path: string): Promise<string> {
  const { metadata, tensors } = await readGguf(demoModelPath(name));
  const changed: GgufMetadata = new Map([
    ...metadata,
    ['tokenizer.chat_template', { type: 'string', value: template }],
  ]);
  await using file = await open(demoModelPath(name), 'r');
  const contents = await Promise.all(
    tensors.map(async ({ name: tensor, type, dimensions, sizeBytes, offset }) => {
      const data = Buffer.alloc(sizeBytes);
      await file.read(data, 0, sizeBytes, offset);
      return { name: tensor, type, dimensions, data: () => data };
    }),
  );
  await writeGguf(path, { metadata: changed, tensors: contents });
  return path;
}
