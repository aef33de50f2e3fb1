// A position in a script's text, with the few ways in which the parsers look at what comes next.
import { Unsupported } from './ast.js';

export interface Cursor {
  readonly text: string;
  at: number;
}

/** Replaces comments (`//`, `#`, slash-star) by spaces, so that lines keep their numbers. Quoted text stays. */
export function withoutComments(text: string): string {
  const quoted = /"(?:\\.|[^"\\\n])*"|`[^`]*`|%\{[\s\S]*?\}%/.source;
  const comment = /\/\*[\s\S]*?\*\/|\/\/[^\n]*|#[^\n]*/.source;
  return text.replace(new RegExp(`(${quoted})|${comment}`, 'g'), (match, keep: string | undefined) =>
    keep === undefined ? match.replace(/[^\n]/g, ' ') : keep,
  );
}

export function lineAt(c: Cursor): number {
  let line = 1;
  for (let i = 0; i < c.at; i++) if (c.text.charCodeAt(i) === 10) line++;
  return line;
}

export function fail(c: Cursor, expected: string): never {
  const rest = c.text.slice(c.at, c.at + 24).split('\n')[0];
  throw new Unsupported(lineAt(c), `not understood: expected ${expected} at "${rest}"`);
}

export function skipSpace(c: Cursor): void {
  while (c.at < c.text.length && /\s/.test(c.text[c.at])) c.at++;
}

/** Whether `text` comes next; takes it if so. Leading space is skipped. */
export function take(c: Cursor, text: string): boolean {
  skipSpace(c);
  if (!c.text.startsWith(text, c.at)) return false;
  c.at += text.length;
  return true;
}

export function expect(c: Cursor, text: string): void {
  if (!take(c, text)) fail(c, `"${text}"`);
}

/** Takes what a sticky pattern (flag y) matches next, or returns null. Leading space is skipped. */
export function takeMatch(c: Cursor, pattern: RegExp): RegExpExecArray | null {
  skipSpace(c);
  pattern.lastIndex = c.at;
  const match = pattern.exec(c.text);
  if (match !== null) c.at = pattern.lastIndex;
  return match;
}

export function peek(c: Cursor, text: string): boolean {
  skipSpace(c);
  return c.text.startsWith(text, c.at);
}
