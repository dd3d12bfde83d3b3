// `meshnode version`
import { version as meshnodeVersion } from '../node/version.ts';
import type { CommandContext } from './command-context.ts';

export async function version({ output }: CommandContext): Promise<number> {
  if (output.json) {
    output.value({
      meshnode: meshnodeVersion,
      node: process.version,
      platform: `${process.platform}-${process.arch}`,
    });
  } else {
    output.line(
      `meshnode ${meshnodeVersion} (Node.js ${process.version}, ${process.platform}-${process.arch})`,
    );
  }
  return 0;
}
