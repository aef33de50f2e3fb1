// The part of Python that assertions in %{ }% are written in: assert, print and assignments over numbers and text.
import { Unsupported } from './ast.js';

type Scalar = number | string | boolean;

interface Reader {
  readonly tokens: readonly string[];
  at: number;
  readonly line: number;
  lookUp(name: string): Scalar;
}

const TOKEN =
  /\s*(?:(0x[\da-fA-F]+|\d+(?:\.\d*)?(?:e[+-]?\d+)?|\.\d+)|("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|([A-Za-z_]\w*)|(\*\*|\/\/|<<|>>|[<>=!]=|[-+*/%<>=(),.|&^~[\]]))/y;

/** Runs the statements of one block. `variables` lives as long as the script. Throws Unsupported. */
export function runCode(
  text: string,
  line: number,
  variables: Map<string, Scalar>,
  field: (name: string) => Scalar | undefined,
  print: (text: string) => void,
): string | null {
  const lines = text.split('\n');
  for (let i = 0, open = ''; i < lines.length; i++) {
    const whole = `${open}${lines[i].replace(/#.*$/, '').replace(/\\\s*$/, '')} `;
    // A statement goes on while a parenthesis is open or the line ends in a backslash.
    const unfinished = depth(whole) > 0 || /\\\s*$/.test(lines[i]);
    open = unfinished && i + 1 < lines.length ? whole : '';
    if (open !== '') continue;
    for (const statement of splitStatements(whole)) {
      const failure = runStatement(statement, line + i, variables, field, print);
      if (failure !== null) return failure;
    }
  }
  return null;
}

function depth(text: string): number {
  return text.split('(').length - text.split(')').length;
}

function splitStatements(text: string): string[] {
  return (text.match(/(?:"[^"]*"|'[^']*'|[^;"'])+/g) ?? []).map((part) => part.trim()).filter((part) => part !== '');
}

function runStatement(
  text: string,
  line: number,
  variables: Map<string, Scalar>,
  field: (name: string) => Scalar | undefined,
  print: (text: string) => void,
): string | null {
  const lookUp = (name: string): Scalar => {
    const value = variables.get(name) ?? field(name);
    if (value === undefined) throw new Unsupported(line, `the name ${name} in an assertion`);
    return value;
  };
  const assignment = /^([A-Za-z_]\w*)\s*=(?!=)(.*)$/.exec(text);
  const word = /^(assert|print|import|from)\b/.exec(text)?.[1];
  const source = word === undefined ? (assignment?.[2] ?? text) : text.slice(word.length);
  if (word === 'import' || word === 'from') return null;
  const r: Reader = { tokens: tokenize(source, line), at: 0, line, lookUp };
  if (word === 'print') {
    print(r.tokens.length === 0 ? '' : String(readTuple(r).join(' ')));
  } else if (word === 'assert') {
    const [holds, message] = readTuple(r);
    if (!truth(holds)) return `assertion failed: ${text}${message === undefined ? '' : `: ${message}`}${values(r)}`;
  } else if (assignment !== null) variables.set(assignment[1], readOr(r));
  else throw new Unsupported(line, `the statement "${text}" in an assertion`);
  if (r.at < r.tokens.length) throw new Unsupported(line, `"${r.tokens[r.at]}" in an assertion`);
  return null;
}

/** The fields an assertion has used, with their values. */
function values(r: Reader): string {
  const names = [...new Set(r.tokens.filter((token) => token.startsWith('tcpi_')))];
  return names.length === 0 ? '' : ` (${names.map((name) => `${name} is ${r.lookUp(name)}`).join(', ')})`;
}

function tokenize(text: string, line: number): string[] {
  const tokens: string[] = [];
  let at = 0;
  while (text.slice(at).trim() !== '') {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(text);
    if (match === null) throw new Unsupported(line, `"${text.slice(at).trim()}" in an assertion`);
    tokens.push(match[0].trim());
    at = TOKEN.lastIndex;
  }
  return tokens;
}

function truth(value: Scalar): boolean {
  return value !== false && value !== 0 && value !== '';
}

function accept(r: Reader, ...tokens: string[]): string | null {
  const token = r.tokens[r.at];
  if (token === undefined || !tokens.includes(token)) return null;
  r.at++;
  return token;
}

function readTuple(r: Reader): Scalar[] {
  const items = [readOr(r)];
  while (accept(r, ',')) items.push(readOr(r));
  return items;
}

function readOr(r: Reader): Scalar {
  let left = readAnd(r);
  while (accept(r, 'or')) {
    const right = readAnd(r);
    left = truth(left) ? left : right;
  }
  return left;
}

function readAnd(r: Reader): Scalar {
  let left = readNot(r);
  while (accept(r, 'and')) {
    const right = readNot(r);
    left = truth(left) ? right : left;
  }
  return left;
}

function readNot(r: Reader): Scalar {
  return accept(r, 'not') ? !truth(readNot(r)) : readComparison(r);
}

/** As in Python, `a <= b < c` compares each pair. */
function readComparison(r: Reader): Scalar {
  let left = readBinary(r, 0);
  let result: boolean | null = null;
  for (let op = accept(r, ...comparisons); op !== null; op = accept(r, ...comparisons)) {
    const right = readBinary(r, 0);
    result = (result ?? true) && compare(left, op, right);
    left = right;
  }
  return result ?? left;
}

const comparisons = ['==', '!=', '<', '<=', '>', '>='];

function compare(left: Scalar, op: string, right: Scalar): boolean {
  const a = typeof left === 'boolean' ? Number(left) : left;
  const b = typeof right === 'boolean' ? Number(right) : right;
  if (op === '==') return a === b;
  if (op === '!=') return a !== b;
  if (op === '<') return a < b;
  if (op === '<=') return a <= b;
  return op === '>' ? a > b : a >= b;
}

/** From the weakest to the strongest. */
const levels: readonly (readonly string[])[] = [['|'], ['^'], ['&'], ['<<', '>>'], ['+', '-'], ['*', '/', '//', '%']];

function readBinary(r: Reader, level: number): Scalar {
  if (level === levels.length) return readUnary(r);
  let left = readBinary(r, level + 1);
  for (let op = accept(r, ...levels[level]); op !== null; op = accept(r, ...levels[level])) {
    left = apply(left, op, readBinary(r, level + 1));
  }
  return left;
}

function apply(left: Scalar, op: string, right: Scalar): Scalar {
  if (op === '+' && typeof left === 'string') return left + String(right);
  if (op === '%' && typeof left === 'string') return left.replace(/%[a-z\d.]*[a-z]/, String(right));
  const a = Number(left);
  const b = Number(right);
  switch (op) {
    case '|':
      return a | b;
    case '^':
      return a ^ b;
    case '&':
      return a & b;
    case '<<':
      return a * 2 ** b;
    case '>>':
      return Math.floor(a / 2 ** b);
    case '+':
      return a + b;
    case '-':
      return a - b;
    case '*':
      return a * b;
    case '/':
      return a / b;
    case '//':
      return Math.floor(a / b);
    default:
      return a - b * Math.floor(a / b);
  }
}

function readUnary(r: Reader): Scalar {
  if (accept(r, '-')) return -Number(readUnary(r));
  if (accept(r, '+')) return Number(readUnary(r));
  if (accept(r, '~')) return ~Number(readUnary(r));
  const base = readPrimary(r);
  return accept(r, '**') ? Number(base) ** Number(readUnary(r)) : base;
}

const functions: Readonly<Record<string, (args: Scalar[]) => Scalar>> = {
  abs: ([value]) => Math.abs(Number(value)),
  min: (args) => Math.min(...args.map(Number)),
  max: (args) => Math.max(...args.map(Number)),
  int: ([value]) => Math.trunc(Number(value)),
  float: ([value]) => Number(value),
  round: ([value]) => Math.round(Number(value)),
  str: ([value]) => String(value),
};

function readPrimary(r: Reader): Scalar {
  const token = r.tokens[r.at++];
  if (token === undefined) throw new Unsupported(r.line, 'an assertion that ends early');
  if (token === '(') {
    // print (a, b) is a tuple as well.
    const items = accept(r, ')') ? [''] : readTuple(r);
    if (r.tokens[r.at - 1] !== ')' && !accept(r, ')')) throw new Unsupported(r.line, 'an unbalanced parenthesis');
    return items.length === 1 ? items[0] : items.join(' ');
  }
  if (/^[\d.]/.test(token)) return Number(token);
  if (/^["']/.test(token)) return token.slice(1, -1);
  if (token === 'True' || token === 'False') return token === 'True';
  if (!/^[A-Za-z_]/.test(token)) throw new Unsupported(r.line, `"${token}" in an assertion`);
  if (!accept(r, '(')) return r.lookUp(token);
  const call = Object.hasOwn(functions, token) ? functions[token] : undefined;
  if (call === undefined) throw new Unsupported(r.line, `the function ${token}() in an assertion`);
  const args = accept(r, ')') ? [] : readTuple(r);
  if (args.length > 0 && !accept(r, ')')) throw new Unsupported(r.line, 'an unbalanced parenthesis');
  return call(args);
}
