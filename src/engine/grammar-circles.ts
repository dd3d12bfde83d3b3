// Which rules of a grammar lead back to themselves, and how: at the end of a sequence, where nothing stays open, or
// within one. Pure.
import type { Grammar } from './grammar-rules.ts';

export interface RuleCircles {
  /** The circle each rule is in: rules of one number lead to each other. */
  readonly numbers: ReadonlyMap<string, number>;
  /** Circles that lead round by the ends of sequences only. */
  readonly flat: ReadonlySet<number>;
}

/** Tarjan's strongly connected components. */
export function ruleCircles({ rules }: Grammar): RuleCircles {
  const order = new Map<string, number>();
  const numbers = new Map<string, number>();
  const open: string[] = [];
  const visit = (name: string): number => {
    const at = order.size;
    order.set(name, at);
    let lowest = at;
    open.push(name);
    for (const next of new Set(references(rules, name))) {
      if (!order.has(next)) {
        lowest = Math.min(lowest, visit(next));
      } else if (!numbers.has(next)) {
        lowest = Math.min(lowest, order.get(next) ?? lowest);
      }
    }
    if (lowest === at) {
      for (const member of open.splice(open.lastIndexOf(name))) {
        numbers.set(member, at);
      }
    }
    return lowest;
  };
  for (const name of rules.keys()) {
    if (!order.has(name)) {
      visit(name);
    }
  }
  return { numbers, flat: flatCircles(rules, numbers) };
}

export function isOneCircle({ numbers }: RuleCircles, one: string, other: string): boolean {
  const circle = numbers.get(one);
  return circle !== undefined && circle === numbers.get(other);
}

/** Whether what is open in one rule stays so in the other. At the end of a sequence nothing does. */
export function staysOpen(
  circles: RuleCircles,
  { from, to, isLast }: { readonly from: string; readonly to: string; readonly isLast: boolean },
): boolean {
  const isFlat = from === to || circles.flat.has(circles.numbers.get(from) ?? Number.NaN);
  return !(isLast && isFlat && isOneCircle(circles, from, to));
}

function references(rules: Grammar['rules'], name: string): string[] {
  const { alternatives = [] } = rules.get(name) ?? {};
  return alternatives.flat().flatMap(({ rule }) => (rule === undefined || !rules.has(rule) ? [] : [rule]));
}

function flatCircles(rules: Grammar['rules'], numbers: ReadonlyMap<string, number>): Set<number> {
  const flat = new Set(numbers.values());
  for (const [name, { alternatives }] of rules) {
    const circle = numbers.get(name);
    const leadsBack = alternatives.some((sequence) =>
      sequence.slice(0, -1).some(({ rule }) => rule !== undefined && numbers.get(rule) === circle),
    );
    if (leadsBack && circle !== undefined) {
      flat.delete(circle);
    }
  }
  return flat;
}
