// The lean path of a streamed token: all of a chunk but its text is written as JSON only once.

/** Stands where the text will be; a control character that no name in a chunk may hold. */
const marker = '\u0000text';
const writtenMarker = JSON.stringify(marker);

/** A function whose result for a text is exactly `JSON.stringify(make(text))`. */
export function textTemplate(make: (text: string) => object): (text: string) => string {
  const written = JSON.stringify(make(marker));
  const at = written.lastIndexOf(writtenMarker);
  const before = written.slice(0, at);
  const after = written.slice(at + writtenMarker.length);
  return (text) => before + JSON.stringify(text) + after;
}
