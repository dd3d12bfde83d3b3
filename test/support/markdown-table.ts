/** Rows of cells, the first being the heads, as a Markdown table whose columns line up in a terminal too. */
export function markdownTable(rows: readonly (readonly string[])[]): string {
  const [heads = [], ...rest] = rows;
  const widths = heads.map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`;
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`;
  return [line(heads), rule, ...rest.map(line)].join('\n');
}
