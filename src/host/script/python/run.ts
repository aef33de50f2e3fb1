// Runs the statements of a %{ … }% block.
import { type Expression, PythonUnsupported, type Statement } from './syntax.js';

export type PythonValue = number | string | boolean | null | readonly PythonValue[];

export interface PythonScope {
  /** Lives as long as the script. */
  readonly variables: Map<string, PythonValue>;
  /** A name that is no variable. */
  lookUp(name: string): PythonValue | undefined;
  print(text: string): void;
}

/** What a failed assertion, or an error that Python would raise, says; null when all went well. */
export interface PythonFailure {
  readonly line: number;
  readonly message: string;
}

interface Run extends PythonScope {
  line: number;
  /** Loop turns left: a script that never ends is no script. */
  turns: number;
}

/** Thrown for what Python itself would raise. */
class PythonError extends Error {}

const MAX_TURNS = 100_000;

/** Throws PythonUnsupported. */
export function runPython(statements: readonly Statement[], scope: PythonScope): PythonFailure | null {
  const run: Run = { ...scope, line: 0, turns: MAX_TURNS };
  try {
    execute(statements, run);
    return null;
  } catch (error) {
    if (error instanceof PythonError) return { line: run.line, message: error.message };
    throw error;
  }
}

function execute(statements: readonly Statement[], run: Run): void {
  for (const s of statements) {
    run.line = s.line;
    switch (s.kind) {
      case 'assert':
        if (!truth(evaluate(s.condition, run))) {
          const message = s.message === null ? '' : `: ${show(evaluate(s.message, run))}`;
          throw new PythonError(`assertion failed: ${s.text}${message}${usedValues(s.condition, run)}`);
        }
        break;
      case 'print':
        run.print(s.values.map((value) => show(evaluate(value, run))).join(' '));
        break;
      case 'assign': {
        const value = evaluate(s.value, run);
        for (const target of s.targets) assign(target, value, run);
        break;
      }
      case 'evaluate':
        evaluate(s.value, run);
        break;
      case 'if': {
        const chosen = s.branches.find(({ condition }) => condition === null || truth(evaluate(condition, run)));
        if (chosen !== undefined) execute(chosen.body, run);
        break;
      }
      case 'for':
        for (const item of items(evaluate(s.over, run), run)) {
          turn(run);
          assign(s.target, item, run);
          execute(s.body, run);
        }
        break;
      case 'while':
        while (truth(evaluate(s.condition, run))) {
          turn(run);
          execute(s.body, run);
        }
        break;
      case 'pass':
        break;
    }
  }
}

function turn(run: Run): void {
  if (run.turns-- === 0) throw new PythonError(`a loop that does not end within ${MAX_TURNS} turns`);
}

function assign(target: Expression, value: PythonValue, run: Run): void {
  if (target.kind === 'name') run.variables.set(target.name, value);
  else if (target.kind === 'list') {
    const values = items(value, run);
    if (values.length !== target.items.length) throw new PythonError('as many values as names are needed');
    for (const [i, name] of target.items.entries()) assign(name, values[i], run);
  } else throw new PythonUnsupported(run.line, 'this kind of assignment');
}

/** The tcp_info fields that a condition has used, with their values. */
function usedValues(condition: Expression, run: Run): string {
  const names = new Set(JSON.stringify(condition).match(/"tcpi_\w+"/g) ?? []);
  const list = [...names].map((quoted) => {
    const name = quoted.slice(1, -1);
    return `${name} is ${show(nameValue(name, run))}`;
  });
  return list.length === 0 ? '' : ` (${list.join(', ')})`;
}

function truth(value: PythonValue): boolean {
  return Array.isArray(value) ? value.length > 0 : value !== false && value !== 0 && value !== '' && value !== null;
}

function show(value: PythonValue): string {
  if (Array.isArray(value)) return `(${value.map(show).join(', ')})`;
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  return value === null ? 'None' : String(value);
}

function items(value: PythonValue, run: Run): readonly PythonValue[] {
  if (Array.isArray(value)) return value;
  if (typeof value === 'string') return [...value];
  throw new PythonUnsupported(run.line, 'going over something that is no list');
}

function nameValue(name: string, run: Run): PythonValue {
  const value = run.variables.get(name) ?? run.lookUp(name);
  if (value === undefined) throw new PythonUnsupported(run.line, `the name ${name}`);
  return value;
}

function evaluate(e: Expression, run: Run): PythonValue {
  switch (e.kind) {
    case 'value':
      return e.value;
    case 'name':
      return nameValue(e.name, run);
    case 'list':
      return e.items.map((item) => evaluate(item, run));
    case 'format':
      return e.parts.map((part) => (typeof part === 'string' ? part : show(evaluate(part, run)))).join('');
    case 'choice':
      return truth(evaluate(e.condition, run)) ? evaluate(e.then, run) : evaluate(e.otherwise, run);
    case 'logic': {
      const left = evaluate(e.left, run);
      return truth(left) === (e.op === 'or') ? left : evaluate(e.right, run);
    }
    case 'compare': {
      let left = evaluate(e.first, run);
      for (const [op, right] of e.rest) {
        const next = evaluate(right, run);
        if (!compare(left, op, next, run)) return false;
        left = next;
      }
      return true;
    }
    case 'unary': {
      const value = evaluate(e.of, run);
      if (e.op === 'not') return !truth(value);
      const number = numeric(value, run);
      if (e.op === '-') return -number;
      return e.op === '~' ? -number - 1 : number;
    }
    case 'binary':
      return binary(evaluate(e.left, run), e.op, evaluate(e.right, run), run);
    case 'index': {
      const list = items(evaluate(e.of, run), run);
      const at = numeric(evaluate(e.at, run), run);
      const item = list[at < 0 ? list.length + at : at];
      if (item === undefined) throw new PythonError(`no item ${at}`);
      return item;
    }
    case 'call':
      return call(
        e.callee,
        e.args.map((arg) => evaluate(arg, run)),
        run,
      );
    case 'member':
      throw new PythonUnsupported(run.line, `.${e.name}`);
  }
}

function numeric(value: PythonValue, run: Run): number {
  if (typeof value === 'number') return value;
  if (typeof value === 'boolean') return Number(value);
  throw new PythonUnsupported(run.line, `${show(value)} where a number is needed`);
}

function same(left: PythonValue, right: PythonValue): boolean {
  if (Array.isArray(left) && Array.isArray(right)) {
    return left.length === right.length && left.every((item, i) => same(item, right[i]));
  }
  const plain = (value: PythonValue): PythonValue => (typeof value === 'boolean' ? Number(value) : value);
  return plain(left) === plain(right);
}

function compare(left: PythonValue, op: string, right: PythonValue, run: Run): boolean {
  switch (op) {
    case '==':
    case 'is':
      return same(left, right);
    case '!=':
    case '<>':
    case 'is not':
      return !same(left, right);
    case 'in':
    case 'not in': {
      const found =
        typeof right === 'string' && typeof left === 'string'
          ? right.includes(left)
          : items(right, run).some((item) => same(left, item));
      return found === (op === 'in');
    }
  }
  if (Array.isArray(left) && Array.isArray(right)) {
    for (let i = 0; i < Math.min(left.length, right.length); i++) {
      if (!same(left[i], right[i])) return compare(left[i], op, right[i], run);
    }
    return compare(left.length, op, right.length, run);
  }
  const text = typeof left === 'string' && typeof right === 'string';
  const a = text ? left : numeric(left, run);
  const b = text ? right : numeric(right, run);
  if (op === '<') return a < b;
  if (op === '<=') return a <= b;
  return op === '>' ? a > b : a >= b;
}

function binary(left: PythonValue, op: string, right: PythonValue, run: Run): PythonValue {
  if (typeof left === 'string' && op === '%') return formatted(left, Array.isArray(right) ? right : [right]);
  if (typeof left === 'string' && typeof right === 'string' && op === '+') return left + right;
  if (Array.isArray(left) && Array.isArray(right) && op === '+') return [...left, ...right];
  const a = numeric(left, run);
  const b = numeric(right, run);
  if ((op === '/' || op === '//' || op === '%') && b === 0) throw new PythonError('division by zero');
  switch (op) {
    // tcp_info has 64-bit fields: JavaScript's own operators know 32 bits.
    case '|':
      return Number(whole(a) | whole(b));
    case '^':
      return Number(whole(a) ^ whole(b));
    case '&':
      return Number(whole(a) & whole(b));
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
    case '**':
      return a ** b;
    default:
      return a - b * Math.floor(a / b);
  }
}

function whole(value: number): bigint {
  return BigInt(Math.trunc(value));
}

function formatted(text: string, values: readonly PythonValue[]): string {
  let next = 0;
  return text.replace(/%(?:%|[-+ #0]*\d*(?:\.\d+)?[a-zA-Z])/g, (directive) =>
    directive === '%%' ? '%' : show(values[next++] ?? ''),
  );
}

const functions: Readonly<Record<string, (args: readonly PythonValue[], run: Run) => PythonValue>> = {
  abs: ([value], run) => Math.abs(numeric(value, run)),
  min: (args, run) => Math.min(...spread(args, run)),
  max: (args, run) => Math.max(...spread(args, run)),
  sum: (args, run) => spread(args, run).reduce((total, value) => total + value, 0),
  int: ([value]) => Math.trunc(Number(value)),
  long: ([value]) => Math.trunc(Number(value)),
  float: ([value]) => Number(value),
  bool: ([value]) => truth(value),
  round: ([value, digits], run) => Number(numeric(value, run).toFixed(digits === undefined ? 0 : Number(digits))),
  str: ([value]) => show(value),
  len: ([value], run) => items(value, run).length,
  hex: ([value], run) => `0x${numeric(value, run).toString(16)}`,
  range: (args, run) => {
    const [first, second, step = 1] = args.map((arg) => numeric(arg, run));
    const [from, to] = second === undefined ? [0, first] : [first, second];
    const count = Math.min(Math.max(Math.ceil((to - from) / step), 0), MAX_TURNS);
    return Array.from({ length: count }, (_none, i) => from + i * step);
  },
};

function spread(args: readonly PythonValue[], run: Run): number[] {
  const list = args.length === 1 && Array.isArray(args[0]) ? args[0] : args;
  return list.map((value) => numeric(value, run));
}

function call(callee: Expression, args: readonly PythonValue[], run: Run): PythonValue {
  if (callee.kind === 'name' && Object.hasOwn(functions, callee.name)) return functions[callee.name](args, run);
  if (callee.kind === 'member') {
    if (callee.of.kind === 'name' && callee.of.name === 'math') return mathCall(callee.name, args, run);
    if (callee.of.kind === 'member' && callee.name === 'write') {
      // sys.stdout.write(…), sys.stderr.write(…)
      run.print(args.map(show).join('').trimEnd());
      return null;
    }
    const of = evaluate(callee.of, run);
    if (typeof of === 'string' && callee.name === 'format') {
      let next = 0;
      return of.replace(/\{(\d*)(?::[^}]*)?\}/g, (_all, at: string) =>
        show(args[at === '' ? next++ : Number(at)] ?? ''),
      );
    }
  }
  const name = callee.kind === 'name' || callee.kind === 'member' ? callee.name : '?';
  throw new PythonUnsupported(run.line, `the function ${name}()`);
}

function mathCall(name: string, args: readonly PythonValue[], run: Run): PythonValue {
  const numbers = args.map((arg) => numeric(arg, run));
  switch (name) {
    case 'floor':
      return Math.floor(numbers[0]);
    case 'ceil':
      return Math.ceil(numbers[0]);
    case 'fabs':
      return Math.abs(numbers[0]);
    case 'sqrt':
      return Math.sqrt(numbers[0]);
    case 'log':
      return Math.log(numbers[0]) / (numbers[1] === undefined ? 1 : Math.log(numbers[1]));
    case 'pow':
      return numbers[0] ** numbers[1];
  }
  throw new PythonUnsupported(run.line, `math.${name}()`);
}
