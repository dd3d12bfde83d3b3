// How values are written for people: durations, shares, bars of progress, texts cut to a width. Pure. Sizes:
// util/size.ts.

/** `3 s`, `4 min`, `2 h 5 min`, `3 d 4 h`. */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) {
    return `${whole} s`;
  }
  if (whole < 3600) {
    return `${Math.floor(whole / 60)} min`;
  }
  if (whole < 86_400) {
    return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  }
  return `${Math.floor(whole / 86_400)} d ${Math.floor((whole % 86_400) / 3600)} h`;
}

/** `0.42 ms`, `4.2 ms`, `420 ms`: no more digits than were measured. */
export function formatMs(ms: number): string {
  return `${ms.toFixed(ms < 1 ? 2 : ms < 100 ? 1 : 0)} ms`;
}

/** At most `width` characters, the last one `…` if something is missing. */
export function cutText(text: string, width: number): string {
  const characters = [...text];
  return characters.length <= width ? text : `${characters.slice(0, width - 1).join('')}…`;
}

/** `42 %` of a fraction. */
export function formatShare(fraction: number): string {
  return `${Math.floor(fraction * 100)} %`;
}

/** The end of a peer's id: all begin alike. It may stand for the whole. */
export function shortPeerId(peerId: string): string {
  return peerId.slice(-8);
}

const barWidth = 20;

/** A bar of 20 characters, filled by `fraction`. */
export function formatBar(fraction: number): string {
  const filled = Math.round(Math.min(1, Math.max(0, fraction)) * barWidth);
  return '█'.repeat(filled) + '░'.repeat(barWidth - filled);
}
