// Parses the statements of a %{ … }% block.
import { type LogicalLine, logicalLines } from './lines.js';
import { type Expression, PythonUnsupported, type Statement } from './syntax.js';

interface Reader {
  readonly tokens: readonly string[];
  at: number;
  readonly line: number;
  readonly text: string;
}

/** Throws PythonUnsupported. */
export function parsePython(text: string): Statement[] {
  const lines = logicalLines(text);
  const statements: Statement[] = [];
  for (let at = 0; at < lines.length; ) at = readStatements(lines, at, statements);
  return statements;
}

/** Reads what the line at `at` begins, a block with its body. Returns where the next one is. */
function readStatements(lines: readonly LogicalLine[], at: number, into: Statement[]): number {
  const { line, text, tokens } = lines[at];
  const r: Reader = { tokens, at: 0, line, text };
  const word = tokens[0];
  if (word === 'if') return readIf(lines, at, into);
  if (word === 'for' || word === 'while') {
    r.at++;
    if (word === 'while') {
      const condition = readExpression(r);
      const [body, next] = readBody(lines, at, r);
      into.push({ kind: 'while', line, text, condition, body });
      return next;
    }
    const target = readTargets(r);
    expectToken(r, 'in');
    const over = readTuple(r);
    const [body, next] = readBody(lines, at, r);
    into.push({ kind: 'for', line, text, target, over, body });
    return next;
  }
  do {
    if (r.at < r.tokens.length) into.push(readSimple(r));
  } while (accept(r, ';'));
  if (r.at < r.tokens.length) throw unexpected(r);
  return at + 1;
}

function readIf(lines: readonly LogicalLine[], at: number, into: Statement[]): number {
  const { line, text, indent } = lines[at];
  const branches: { condition: Expression | null; body: readonly Statement[] }[] = [];
  let next = at;
  while (next < lines.length) {
    const word = lines[next].tokens[0];
    const more = next > at && lines[next].indent === indent && (word === 'elif' || word === 'else');
    if (next !== at && !more) break;
    const r: Reader = { tokens: lines[next].tokens, at: 1, line: lines[next].line, text: lines[next].text };
    const condition = word === 'else' ? null : readExpression(r);
    const [body, after] = readBody(lines, next, r);
    branches.push({ condition, body });
    next = after;
  }
  into.push({ kind: 'if', line, text, branches });
  return next;
}

/** After `if x`: a colon, then statements on the same line or an indented block. */
function readBody(lines: readonly LogicalLine[], at: number, r: Reader): [Statement[], number] {
  expectToken(r, ':');
  const body: Statement[] = [];
  if (r.at < r.tokens.length) {
    do {
      if (r.at < r.tokens.length) body.push(readSimple(r));
    } while (accept(r, ';'));
    if (r.at < r.tokens.length) throw unexpected(r);
    return [body, at + 1];
  }
  let next = at + 1;
  while (next < lines.length && lines[next].indent > lines[at].indent) next = readStatements(lines, next, body);
  return [body, next];
}

const UNSUPPORTED_WORDS = new Set([
  'def',
  'class',
  'return',
  'try',
  'with',
  'lambda',
  'raise',
  'global',
  'yield',
  'del',
]);

function readSimple(r: Reader): Statement {
  const { line, text } = r;
  const word = r.tokens[r.at];
  if (UNSUPPORTED_WORDS.has(word)) throw new PythonUnsupported(line, `the statement "${word}"`);
  if (word === 'import' || word === 'from' || word === 'pass') {
    while (r.at < r.tokens.length && r.tokens[r.at] !== ';') r.at++;
    return { kind: 'pass', line, text };
  }
  if (word === 'assert') {
    r.at++;
    const condition = readExpression(r);
    return { kind: 'assert', line, text, condition, message: accept(r, ',') ? readTuple(r) : null };
  }
  if (word === 'print' && r.tokens[r.at + 1] !== '=') {
    r.at++;
    // Python 2 writes it without parentheses, Python 3 calls it.
    const values = r.at < r.tokens.length && r.tokens[r.at] !== ';' ? readTuple(r) : null;
    const items = values === null ? [] : values.kind === 'list' ? values.items : [values];
    return { kind: 'print', line, text, values: items };
  }
  const first = readTuple(r);
  const augmented = /^(\*\*|\/\/|<<|>>|[-+*/%&|^])=$/.exec(r.tokens[r.at] ?? '');
  if (augmented !== null) {
    r.at++;
    const value: Expression = { kind: 'binary', op: augmented[1], left: first, right: readTuple(r) };
    return { kind: 'assign', line, text, targets: [first], value };
  }
  if (r.tokens[r.at] !== '=') return { kind: 'evaluate', line, text, value: first };
  const chain = [first];
  while (accept(r, '=')) chain.push(readTuple(r));
  return { kind: 'assign', line, text, targets: chain.slice(0, -1), value: chain[chain.length - 1] };
}

function unexpected(r: Reader): PythonUnsupported {
  return new PythonUnsupported(r.line, `"${r.tokens[r.at] ?? 'the end'}" in "${r.text.slice(0, 60)}"`);
}

function accept(r: Reader, ...tokens: string[]): string | null {
  const token = r.tokens[r.at];
  if (token === undefined || !tokens.includes(token)) return null;
  r.at++;
  return token;
}

function expectToken(r: Reader, token: string): void {
  if (accept(r, token) === null) throw unexpected(r);
}

/** Names before `in`. */
function readTargets(r: Reader): Expression {
  const items: Expression[] = [];
  const paren = accept(r, '(');
  do items.push(readPostfix(r));
  while (accept(r, ','));
  if (paren) expectToken(r, ')');
  return items.length === 1 ? items[0] : { kind: 'list', items };
}

const ENDS = new Set(['=', ')', ']', '}', ':', ';']);

function readTuple(r: Reader): Expression {
  const first = readExpression(r);
  if (r.tokens[r.at] !== ',') return first;
  const items = [first];
  while (accept(r, ',') && r.at < r.tokens.length && !ENDS.has(r.tokens[r.at])) items.push(readExpression(r));
  return { kind: 'list', items };
}

function readExpression(r: Reader): Expression {
  const then = readOr(r);
  if (!accept(r, 'if')) return then;
  const condition = readOr(r);
  expectToken(r, 'else');
  return { kind: 'choice', condition, then, otherwise: readExpression(r) };
}

function readOr(r: Reader): Expression {
  let left = readAnd(r);
  while (accept(r, 'or')) left = { kind: 'logic', op: 'or', left, right: readAnd(r) };
  return left;
}

function readAnd(r: Reader): Expression {
  let left = readNot(r);
  while (accept(r, 'and')) left = { kind: 'logic', op: 'and', left, right: readNot(r) };
  return left;
}

function readNot(r: Reader): Expression {
  return accept(r, 'not') ? { kind: 'unary', op: 'not', of: readNot(r) } : readComparison(r);
}

function readComparison(r: Reader): Expression {
  const first = readBinary(r, 0);
  const rest: [string, Expression][] = [];
  for (let op = comparison(r); op !== null; op = comparison(r)) rest.push([op, readBinary(r, 0)]);
  return rest.length === 0 ? first : { kind: 'compare', first, rest };
}

function comparison(r: Reader): string | null {
  if (r.tokens[r.at] === 'not' && r.tokens[r.at + 1] === 'in') {
    r.at += 2;
    return 'not in';
  }
  const op = accept(r, '==', '!=', '<>', '<', '<=', '>', '>=', 'in', 'is');
  if (op !== 'is') return op;
  return accept(r, 'not') ? 'is not' : 'is';
}

/** From the weakest to the strongest. */
const levels: readonly (readonly string[])[] = [['|'], ['^'], ['&'], ['<<', '>>'], ['+', '-'], ['*', '/', '//', '%']];

function readBinary(r: Reader, level: number): Expression {
  if (level === levels.length) return readUnary(r);
  let left = readBinary(r, level + 1);
  for (let op = accept(r, ...levels[level]); op !== null; op = accept(r, ...levels[level])) {
    left = { kind: 'binary', op, left, right: readBinary(r, level + 1) };
  }
  return left;
}

function readUnary(r: Reader): Expression {
  const op = accept(r, '-', '+', '~');
  if (op !== null) return { kind: 'unary', op, of: readUnary(r) };
  const base = readPostfix(r);
  return accept(r, '**') ? { kind: 'binary', op: '**', left: base, right: readUnary(r) } : base;
}

function readPostfix(r: Reader): Expression {
  let of = readPrimary(r);
  while (true) {
    if (accept(r, '(')) of = { kind: 'call', callee: of, args: readItems(r, ')') };
    else if (accept(r, '[')) {
      of = { kind: 'index', of, at: readExpression(r) };
      expectToken(r, ']');
    } else if (accept(r, '.')) of = { kind: 'member', of, name: r.tokens[r.at++] ?? '' };
    else return of;
  }
}

function readItems(r: Reader, close: string): Expression[] {
  const items: Expression[] = [];
  while (!accept(r, close)) {
    items.push(readExpression(r));
    if (!accept(r, ',')) {
      expectToken(r, close);
      break;
    }
  }
  return items;
}

const CONSTANTS: ReadonlyMap<string, boolean | null> = new Map([
  ['True', true],
  ['False', false],
  ['None', null],
]);

function readPrimary(r: Reader): Expression {
  const token = r.tokens[r.at++];
  if (token === undefined) throw unexpected(r);
  if (token === '(') {
    const before = r.at;
    const items = readItems(r, ')');
    const tuple = items.length !== 1 || r.tokens[r.at - 2] === ',';
    return tuple || r.at === before ? { kind: 'list', items } : items[0];
  }
  if (token === '[') return { kind: 'list', items: readItems(r, ']') };
  if (/^(?:\d|\.\d)/.test(token)) return { kind: 'value', value: Number(token) };
  const constant = CONSTANTS.get(token);
  if (constant !== undefined) return { kind: 'value', value: constant };
  if (/^[rbuf]?["']/.test(token)) return readText(r, token);
  if (!/^[A-Za-z_]/.test(token)) {
    r.at--;
    throw unexpected(r);
  }
  return { kind: 'name', name: token };
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', '0': '\0' };

function readText(r: Reader, token: string): Expression {
  const [prefix, quoted] = /["']/.test(token[0]) ? ['', token] : [token[0], token.slice(1)];
  const marks = /^(?:"""|''')/.test(quoted) ? 3 : 1;
  const raw = quoted.slice(marks, -marks);
  const text = prefix === 'r' ? raw : raw.replace(/\\([\s\S])/g, (_all, letter: string) => ESCAPES[letter] ?? letter);
  if (prefix !== 'f') {
    // Texts beside each other are one.
    const next = r.tokens[r.at];
    if (next !== undefined && /^["']/.test(next)) {
      r.at++;
      const rest = readText(r, next);
      if (rest.kind === 'value') return { kind: 'value', value: text + String(rest.value) };
    }
    return { kind: 'value', value: text };
  }
  const parts = text.split(/\{([^{}]*)\}/).map((part, i): string | Expression => {
    if (i % 2 === 0) return part;
    const [line] = logicalLines(part.replace(/(?:![rsa])?(?::[^:]*)?$/, ''));
    return readExpression({ tokens: line?.tokens ?? [], at: 0, line: r.line, text: r.text });
  });
  return { kind: 'format', parts };
}
