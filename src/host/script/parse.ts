// The script language of packetdrill (Cardwell et al., USENIX ATC 2013): option lines, then events, each a time and a
// packet, a call, a shell command in backquotes or an assertion in %{ }%.
import type { CallEvent, CodeEvent, Script, Time, TimedEvent, Value } from './ast.js';
import { checkCode } from './code.js';
import { type Cursor, expect, fail, lineAt, peek, skipSpace, take, takeMatch, withoutComments } from './cursor.js';
import { parsePacket } from './parse-packet.js';
import { constants } from './symbols.js';

const US = 1_000_000;

/** A value follows `=`; a blank before it is taken too, a new line is not. */
const OPTION = /--([\w-]+)(?:(?:[ \t]*=[ \t]*|[ \t]+)("[^"\n]*"|[^\s`]+))?/y;

/** Throws Unsupported with the line of what it does not understand. */
export function parseScript(text: string): Script {
  const c: Cursor = { text: withoutComments(text), at: 0 };
  const options: { name: string; value: string; line: number }[] = [];
  const setup: { command: string; line: number }[] = [];
  const events: TimedEvent[] = [];
  skipSpace(c);
  while (c.at < c.text.length) {
    const line = lineAt(c);
    const option = events.length === 0 ? takeMatch(c, OPTION) : null;
    if (option !== null) options.push({ name: option[1], value: (option[2] ?? '').replace(/^"|"$/g, ''), line });
    else if (events.length === 0 && peek(c, '`')) setup.push({ command: parseShell(c), line });
    else if (peek(c, '`')) {
      // A command without a time runs when its turn comes: most often the last one, which cleans up.
      events.push({ line, time: { kind: 'any' }, event: { kind: 'shell', command: parseShell(c) } });
    } else if (peek(c, '%{')) events.push({ line, time: { kind: 'any' }, event: parseCode(c) });
    else events.push(parseEvent(c, line));
    skipSpace(c);
  }
  return { options, setup, events };
}

function parseEvent(c: Cursor, line: number): TimedEvent {
  const time = parseTime(c);
  if (peek(c, '<') || peek(c, '>')) return { line, time, event: parsePacket(c) };
  if (peek(c, '`')) return { line, time, event: { kind: 'shell', command: parseShell(c) } };
  if (peek(c, '%{')) return { line, time, event: parseCode(c) };
  return { line, time, event: parseCall(c) };
}

function parseCode(c: Cursor): CodeEvent {
  const line = lineAt(c);
  const code = takeMatch(c, /%\{([\s\S]*?)\}%/y);
  if (code === null) fail(c, 'a closing }%');
  checkCode(code[1], line);
  return { kind: 'code', text: code[1], line };
}

function seconds(text: string): number {
  return Math.round(Number(text) * US);
}

const NUMBER = '(\\d+(?:\\.(?!\\.)\\d*)?(?:[eE][-+]?\\d+)?|\\.\\d+(?:[eE][-+]?\\d+)?)';
const TIME = new RegExp(`(\\+?)\\s*${NUMBER}(?:\\s*~\\s*(\\+?)\\s*${NUMBER})?`, 'y');

function parseTime(c: Cursor): Time {
  if (take(c, '*')) return { kind: 'any' };
  const match = takeMatch(c, TIME);
  if (match === null) fail(c, 'a time');
  const relative = match[1] === '+';
  const us = seconds(match[2]);
  if (match[4] === undefined) return { kind: relative ? 'relative' : 'absolute', us };
  return { kind: relative ? 'relative-range' : 'absolute-range', us, endUs: seconds(match[4]) };
}

function parseShell(c: Cursor): string {
  const match = takeMatch(c, /`((?:\\[\s\S]|[^`\\])*)`/y);
  if (match === null) fail(c, 'a closing backquote');
  return match[1];
}

const END_TIME = new RegExp(`\\.\\.\\.\\s*\\+?\\s*${NUMBER}`, 'y');

function parseCall(c: Cursor): CallEvent {
  const end = takeMatch(c, END_TIME);
  const name = takeMatch(c, /([a-z_]\w*)\s*\(/y);
  if (name === null) fail(c, 'a packet, a call, a shell command or %{');
  const args: Value[] = [];
  if (!take(c, ')')) {
    do args.push(parseValue(c));
    while (take(c, ','));
    expect(c, ')');
  }
  let result: Value = { kind: 'any' };
  let errno: string | null = null;
  if (take(c, '=')) {
    result = parseValue(c);
    errno = takeMatch(c, /E[A-Z0-9]+\b/y)?.[0] ?? null;
    takeMatch(c, /\([^()\n]*(?:\([^()\n]*\)[^()\n]*)*\)/y);
  }
  return { kind: 'call', name: name[1], args, result, errno, endUs: end === null ? null : seconds(end[1]) };
}

/** A value: numbers and symbols joined by |, text, [list], {struct}, `...`, htons(…), inet_addr(…) and the like. */
export function parseValue(c: Cursor): Value {
  if (take(c, '...')) return { kind: 'any' };
  if (take(c, '[')) return { kind: 'list', items: parseItems(c, ']') };
  if (take(c, '{')) return parseStruct(c);
  const text = takeMatch(c, /"((?:\\.|[^"\\])*)"(?:\s*\.\.\.)?/y);
  if (text !== null) return { kind: 'string', value: text[1] };
  let value = parseTerm(c);
  while (take(c, '|')) {
    const next = parseTerm(c);
    if (value.kind === 'number' && next.kind === 'number') value = { kind: 'number', value: value.value | next.value };
    // A name that is not known makes the whole unknown.
    else if (value.kind === 'number') value = next;
  }
  return value;
}

function parseItems(c: Cursor, close: string): Value[] {
  const items: Value[] = [];
  if (take(c, close)) return items;
  do items.push(parseValue(c));
  while (take(c, ','));
  expect(c, close);
  return items;
}

function parseTerm(c: Cursor): Value {
  const wrapped = takeMatch(c, /(?:htons|htonl|inet_addr|inet6_addr|inet_pton)\s*\(/y);
  if (wrapped !== null) {
    let inner = parseValue(c);
    // inet_pton(AF_INET6, "::1")
    if (take(c, ',')) inner = parseValue(c);
    expect(c, ')');
    return inner;
  }
  if (take(c, '(')) {
    const inner = parseValue(c);
    expect(c, ')');
    return inner;
  }
  const number = takeMatch(c, /-?(?:0x[\da-fA-F]+|\d+(?:\.\d+)?)/y);
  if (number !== null) {
    const negative = number[0].startsWith('-');
    const magnitude = Number(negative ? number[0].slice(1) : number[0]);
    return { kind: 'number', value: negative ? -magnitude : magnitude };
  }
  const symbol = takeMatch(c, /[A-Za-z_]\w*/y);
  if (symbol === null) fail(c, 'a value');
  const known = constants.get(symbol[0]);
  return known === undefined ? { kind: 'symbol', name: symbol[0] } : { kind: 'number', value: known };
}

function parseStruct(c: Cursor): Value {
  const fields = new Map<string, Value>();
  const items: Value[] = [];
  while (!take(c, '}')) {
    // msg_iov(2)=[…]: the count in parentheses repeats the length of the list.
    const name = takeMatch(c, /([A-Za-z]\w*)\s*(?:\([^)]*\))?\s*=\s*/y);
    if (name === null) items.push(parseValue(c));
    else fields.set(name[1], parseValue(c));
    if (!take(c, ',')) {
      expect(c, '}');
      break;
    }
  }
  return { kind: 'struct', fields, items };
}
