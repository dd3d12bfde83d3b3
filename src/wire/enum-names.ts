// Our names for the numbers of a protobuf enum. 0 is nobody's: it means that nothing was said.
import { MeshnodeError } from '../util/errors.ts';

export class EnumNames<Name extends string> {
  readonly #numbers: Readonly<Record<Name, number>>;
  readonly #names: ReadonlyMap<number, Name>;

  constructor(numbers: Readonly<Record<Name, number>>) {
    this.#numbers = numbers;
    this.#names = new Map(Object.entries(numbers).map(([name, number]) => [number as number, name as Name]));
  }

  number(name: Name): number {
    return this.#numbers[name];
  }

  /** Throws `frame_invalid` for a number without a name. */
  name(number: number): Name {
    const name = this.#names.get(number);
    if (name === undefined) {
      throw new MeshnodeError('frame_invalid', `A frame holds the unknown enum value ${number}.`);
    }
    return name;
  }
}
