// Cuts a delta that is too large for a frame into smaller ones that say the same.
import type { DeltaEvent } from './events.ts';

/**
 * Two deltas that together, in this order, say what `delta` says; undefined if it cannot be cut. Token ids never
 * come before the text they stand for.
 */
export function halvesOf(delta: DeltaEvent): readonly [DeltaEvent, DeltaEvent] | undefined {
  const { type, index } = delta;
  const [field, ...others] = cutOrder.filter((key) => delta[key] !== undefined);
  if (field === undefined) {
    return undefined;
  }
  if (others.length > 0) {
    const { [field]: first, ...rest } = delta;
    return [{ type, index, [field]: first }, rest];
  }
  const halves = halvesOfField(delta);
  return (
    halves && [
      { type, index, ...halves[0] },
      { type, index, ...halves[1] },
    ]
  );
}

/** Deltas with several fields are taken apart in this order. */
const cutOrder = ['reasoning', 'text', 'toolCall', 'logprobs', 'tokenIds', 'extra'] as const;

type Fields = Omit<DeltaEvent, 'type' | 'index'>;

/** Both halves of the only field of a delta. */
function halvesOfField({
  text,
  reasoning,
  toolCall,
  tokenIds,
  logprobs,
}: Fields): [Fields, Fields] | undefined {
  if (text !== undefined && text.length > 1) {
    const middle = middleOf(text);
    return [{ text: text.slice(0, middle) }, { text: text.slice(middle) }];
  }
  if (reasoning !== undefined && reasoning.length > 1) {
    const middle = middleOf(reasoning);
    return [{ reasoning: reasoning.slice(0, middle) }, { reasoning: reasoning.slice(middle) }];
  }
  if (toolCall?.arguments !== undefined && toolCall.arguments.length > 1) {
    const { call, arguments: whole } = toolCall;
    const middle = middleOf(whole);
    return [
      { toolCall: { ...toolCall, arguments: whole.slice(0, middle) } },
      { toolCall: { call, arguments: whole.slice(middle) } },
    ];
  }
  if (tokenIds !== undefined && tokenIds.length > 1) {
    const middle = tokenIds.length >> 1;
    return [{ tokenIds: tokenIds.slice(0, middle) }, { tokenIds: tokenIds.slice(middle) }];
  }
  if (logprobs !== undefined && logprobs.length > 1) {
    const middle = logprobs.length >> 1;
    return [{ logprobs: logprobs.slice(0, middle) }, { logprobs: logprobs.slice(middle) }];
  }
  return undefined;
}

/** About the middle of a text of 2 units or more, not within a surrogate pair. */
function middleOf(text: string): number {
  const middle = text.length >> 1;
  const unit = text.charCodeAt(middle);
  return unit >= 0xdc00 && unit <= 0xdfff && middle > 1 ? middle - 1 : middle;
}
