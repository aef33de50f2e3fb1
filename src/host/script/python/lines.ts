// Python's source as logical lines: a line goes on while a bracket is open or after a backslash; comments go.
import { PythonUnsupported } from './syntax.js';

export interface LogicalLine {
  readonly line: number;
  readonly indent: number;
  readonly text: string;
  readonly tokens: readonly string[];
}

const TOKEN = new RegExp(
  [
    /0[xX][\da-fA-F]+|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?/.source,
    /[rbuf]?(?:"""[\s\S]*?"""|'''[\s\S]*?'''|"(?:\\[\s\S]|[^"\\\n])*"|'(?:\\[\s\S]|[^'\\\n])*')/.source,
    /[A-Za-z_]\w*/.source,
    /\*\*=|\/\/=|<<=|>>=|\*\*|\/\/|<<|>>|<>|[<>=!+\-*/%&|^]=|[-+*/%<>=(),.|&^~[\]{}:;]/.source,
  ].join('|'),
  'y',
);

function tokenize(text: string, line: number): string[] {
  const tokens: string[] = [];
  let at = 0;
  while (true) {
    while (at < text.length && /[\s\\]/.test(text[at])) at++;
    if (at >= text.length) return tokens;
    if (text[at] === '#') {
      while (at < text.length && text[at] !== '\n') at++;
      continue;
    }
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(text);
    if (match === null) throw new PythonUnsupported(line, `"${text.slice(at, at + 20).trim()}"`);
    tokens.push(match[0]);
    at = TOKEN.lastIndex;
  }
}

function openBrackets(tokens: readonly string[]): number {
  let open = 0;
  for (const token of tokens) {
    if (token === '(' || token === '[' || token === '{') open++;
    else if (token === ')' || token === ']' || token === '}') open--;
  }
  return open;
}

const TEXT_OPENS = /^(?:[^"'#\n]|"(?!"")(?:\\.|[^"\\\n])*"|'(?!'')(?:\\.|[^'\\\n])*')*("""|''')/;

/** Whether a text in three quotes goes on after `text`. */
function insideText(text: string): boolean {
  let rest = text;
  for (let open = TEXT_OPENS.exec(rest); open !== null; open = TEXT_OPENS.exec(rest)) {
    const end = rest.indexOf(open[1], open[0].length);
    if (end < 0) return true;
    rest = rest.slice(end + 3);
  }
  return false;
}

/** Throws PythonUnsupported. */
export function logicalLines(text: string): LogicalLine[] {
  const result: LogicalLine[] = [];
  const lines = text.split('\n');
  for (let i = 0; i < lines.length; i++) {
    const first = i;
    let whole = lines[i];
    while (
      i + 1 < lines.length &&
      (/\\\s*$/.test(lines[i]) || insideText(whole) || openBrackets(tokenize(whole, first)) > 0)
    ) {
      i++;
      whole += `\n${lines[i]}`;
    }
    const tokens = tokenize(whole, first);
    if (tokens.length === 0) continue;
    const indent = /^[ \t]*/.exec(whole)?.[0].replaceAll('\t', '        ').length ?? 0;
    result.push({ line: first, indent, text: whole.trim(), tokens });
  }
  // The first line stands behind %{, wherever that is; its indentation says nothing.
  if (result.length > 0 && result[0].line === 0) {
    const rest = result.slice(1).map((line) => line.indent);
    result[0] = { ...result[0], indent: rest.length > 0 ? Math.min(...rest) : 0 };
  }
  return result;
}
