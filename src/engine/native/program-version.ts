// What a llama.cpp program says of itself: the release and the commit it was built from. Pure.

/** The build of llama.cpp's programs. Both ends of RPC must be of one build: its requests carry no version. */
export interface ProgramBuild {
  /** `major.minor.patch`. */
  readonly release: string;
  readonly commit: string;
}

/** Reads what `llama-server --version` prints; undefined if it is nothing of the kind. */
export function parseProgramVersion(printed: string): ProgramBuild | undefined {
  const match = /^version: (\d{1,4}\.\d{1,4}\.\d{1,5})\S* \(build \d+, commit ([\w.-]{1,64})\)/m.exec(
    printed,
  );
  const [, release, commit] = match ?? [];
  return release === undefined || commit === undefined ? undefined : { release, commit };
}

/** The one text that records carry and plans compare, e.g. `0.5.0+0ad4a86`. */
export function buildText({ release, commit }: ProgramBuild): string {
  return `${release}+${commit}`;
}

/** The release that node-llama-cpp's own tag names: `v0.5.0` is `0.5.0`. */
export function releaseOfTag(tag: string): string {
  return tag.replace(/^v/, '');
}
