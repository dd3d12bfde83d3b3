// The protobuf messages of `/meshnode/infer/1` by short names, out of the generated code.
import { meshnode } from './generated/infer.js';

export const { Frame, Kind, Priority, Stage, FinishReason } = meshnode.infer.v1;

/** What the encoder takes and the decoder gives: fields that were not sent read as null or their type's zero. */
export type FrameMessage = meshnode.infer.v1.Frame.$Properties;
export type HeadMessage = meshnode.infer.v1.Head.$Properties;
export type EventMessage = meshnode.infer.v1.Event.$Properties;
export type DeltaMessage = meshnode.infer.v1.Delta.$Properties;
export type ToolCallMessage = meshnode.infer.v1.ToolCall.$Properties;
export type TokenLogprobMessage = meshnode.infer.v1.TokenLogprob.$Properties;
export type ErrorMessage = meshnode.infer.v1.Error.$Properties;
