// Which texts of other nodes may be shown to a person, and any text made into one.

/** Control characters, halves of pairs, line breaks, and what turns the direction of writing. */
const unshowable = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;

/** Whether a terminal or a log line can show a text as it is. */
export function isShowable(text: string): boolean {
  return text.search(unshowable) === -1;
}

/** A text with a space for each character that cannot be shown, cut to `mostBytes` of UTF-8. */
export function showableText(text: string, mostBytes: number): string {
  const shown = text.replace(unshowable, ' ');
  const { read } = new TextEncoder().encodeInto(shown, new Uint8Array(mostBytes));
  return shown.slice(0, read);
}
