// A route of the management API: what is called for a method and a path.
import type { Exchange } from '../http/exchange.ts';

export type Handler = (exchange: Exchange) => Promise<void> | void;

export const get = (template: string, target: Handler) => ({ method: 'GET', template, target }) as const;

export const post = (template: string, target: Handler) => ({ method: 'POST', template, target }) as const;
