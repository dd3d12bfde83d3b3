// Where the models that ship with the project lie.
import { fileURLToPath } from 'node:url';

/** Path of `demo`, `demo-moe`, `demo-embed` or `demo-rerank`. */
export function demoModelPath(name: string): string {
  return fileURLToPath(new URL(`../../models/demo/${name}.gguf`, import.meta.url));
}
