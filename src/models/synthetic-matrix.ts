// Weights under construction: a matrix that starts as zeros, is filled by hand or at random, and becomes a
// tensor. Only arithmetic whose result is the same everywhere: equal seeds give equal bytes.
import type { Random } from '../util/random.ts';
import type { TensorContent } from './gguf-writer.ts';
import { type EncodableType, encodeTensor } from './synthetic-quantise.ts';

/** A linear map: output `row` is the sum over `column` of weight x input. */
export class Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly values: Float32Array;

  constructor(rows: number, columns: number) {
    this.rows = rows;
    this.columns = columns;
    this.values = new Float32Array(rows * columns);
  }

  set(row: number, column: number, value: number): void {
    this.values[row * this.columns + column] = value;
  }

  get(row: number, column: number): number {
    return this.values[row * this.columns + column] ?? 0;
  }

  /** Fills a rectangle with random weights of the given standard deviation. */
  randomise(random: Random, deviation: number, area: Partial<Area> = {}): this {
    const { fromRow = 0, toRow = this.rows, fromColumn = 0, toColumn = this.columns } = area;
    for (let row = fromRow; row < toRow; row++) {
      for (let column = fromColumn; column < toColumn; column++) {
        this.set(row, column, deviation * unitNoise(random));
      }
    }
    return this;
  }
}

/** Rows and columns from (included) and to (excluded). */
export interface Area {
  readonly fromRow: number;
  readonly toRow: number;
  readonly fromColumn: number;
  readonly toColumn: number;
}

/** A random number of mean 0 and variance 1: uniform, since logarithms may differ between platforms. */
export function unitNoise(random: Random): number {
  return (random.float() * 2 - 1) * Math.sqrt(3);
}

/** A matrix as a tensor of a GGUF file. */
export function matrixTensor(name: string, type: EncodableType, matrix: Matrix): TensorContent {
  return {
    name,
    type,
    dimensions: [matrix.columns, matrix.rows],
    data: () => encodeTensor(type, matrix.values),
  };
}

/** Equally shaped matrices as one tensor whose last dimension chooses among them: experts. */
export function stackTensor(
  name: string,
  type: EncodableType,
  matrices: readonly [Matrix, ...Matrix[]],
): TensorContent {
  const [{ columns, rows }] = matrices;
  return {
    name,
    type,
    dimensions: [columns, rows, matrices.length],
    data: () => matrices.map((matrix) => encodeTensor(type, matrix.values)),
  };
}

/** A vector, e.g. the weights of a norm. llama.cpp wants these as F32. */
export function vectorTensor(name: string, values: Float32Array): TensorContent {
  return { name, type: 'F32', dimensions: [values.length], data: () => encodeTensor('F32', values) };
}

/** A norm that changes nothing. */
export function plainNorm(name: string, length: number): TensorContent {
  return vectorTensor(name, new Float32Array(length).fill(1));
}
