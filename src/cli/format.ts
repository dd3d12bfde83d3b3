// How values are written for people: durations, shares, bars of progress. Pure. Sizes: util/size.ts.

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
