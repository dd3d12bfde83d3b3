// What a build needs of the machine: git, cmake and a C++ compiler. Finds them, and says which package brings what
// is missing. Builds nothing.
import type { RunCommand } from '../run-command.ts';

export interface Toolchain {
  /** First line of the compiler's `--version`: another compiler is another build. */
  readonly compiler: string;
  /** Command that starts it. */
  readonly compilerCommand: string;
  readonly generator: 'Ninja' | 'Unix Makefiles';
}

export type ToolName = 'git' | 'cmake' | 'C++ compiler' | 'make or ninja';

export type ToolchainAnswer =
  | { readonly ok: true; readonly toolchain: Toolchain }
  | { readonly ok: false; readonly missing: readonly ToolName[]; readonly hint: string };

export interface ToolchainSource {
  readonly platform: NodeJS.Platform;
  readonly run: RunCommand;
  /** The compiler that the user has chosen (`CXX`). */
  readonly chosenCompiler: string | undefined;
}

/** Asks each tool for its version; nothing but that is run. Rejects only when the signal aborts. */
export async function findToolchain(
  { platform, run, chosenCompiler }: ToolchainSource,
  signal?: AbortSignal,
): Promise<ToolchainAnswer> {
  const version = async (command: string): Promise<string | undefined> => {
    const result = await run(command, ['--version'], signal);
    return result.outcome === 'done' ? (result.stdout.split('\n')[0] ?? '').trim() : undefined;
  };
  // `ccache g++` names a launcher first.
  const chosen = chosenCompiler?.trim().split(/\s+/).at(-1);
  const compilers = chosen ? [chosen] : ['c++', 'g++', 'clang++'];
  const [git, cmake, ninja, make, ...answers] = await Promise.all(
    ['git', 'cmake', 'ninja', 'make', ...compilers].map(version),
  );
  const found = answers.findIndex((answer) => answer !== undefined);
  const compiler = answers[found];
  const compilerCommand = compilers[found];
  const missing: ToolName[] = [
    ...(git === undefined ? ['git' as const] : []),
    ...(cmake === undefined ? ['cmake' as const] : []),
    ...(compiler === undefined ? ['C++ compiler' as const] : []),
    ...(ninja === undefined && make === undefined ? ['make or ninja' as const] : []),
  ];
  if (missing.length > 0 || compiler === undefined || compilerCommand === undefined) {
    return { ok: false, missing, hint: installHint(platform, missing) };
  }
  const generator = ninja === undefined ? 'Unix Makefiles' : 'Ninja';
  return { ok: true, toolchain: { compiler, compilerCommand, generator } };
}

/** Debian's names: its family is the most common, and the others' names are close. */
const packages: Readonly<Record<ToolName, string>> = {
  git: 'git',
  cmake: 'cmake',
  'C++ compiler': 'g++',
  'make or ninja': 'make',
};

function installHint(platform: NodeJS.Platform, missing: readonly ToolName[]): string {
  if (platform === 'darwin') {
    const cmake = missing.includes('cmake') ? ' and `brew install cmake`' : '';
    return `Run \`xcode-select --install\`${cmake}, then \`meshnode engine build\`.`;
  }
  const names = missing.map((tool) => packages[tool]).join(' ');
  return `Install the packages ${names} (Debian, Ubuntu: \`sudo apt install ${names}\`), then run \`meshnode engine build\`.`;
}
