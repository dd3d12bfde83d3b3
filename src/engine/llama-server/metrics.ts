// The figures that llama-server tells of itself, in Prometheus' text form. Pure.
import { MeshnodeError } from '../../util/errors.ts';

export interface ServerMetrics {
  /** Requests in slots, and those that wait for one. */
  readonly processing: number;
  readonly deferred: number;
}

/** Throws `engine_protocol` if the text has no such figures. */
export function parseMetrics(text: string): ServerMetrics {
  return { processing: figure(text, 'requests_processing'), deferred: figure(text, 'requests_deferred') };
}

function figure(text: string, name: string): number {
  const value = Number(new RegExp(`^llamacpp:${name} (\\d+(?:\\.\\d+)?)$`, 'm').exec(text)?.[1]);
  if (!Number.isFinite(value)) {
    throw new MeshnodeError('engine_protocol', `The model server does not tell its ${name}.`);
  }
  return value;
}
