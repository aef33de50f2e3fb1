// Where inputs are kept: a small corpus under version control, one that long runs add to, and inputs that failed.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Tape, tapeFromText, tapeToText } from './tape.js';

const root = fileURLToPath(new URL('../../../../', import.meta.url));

/** Inputs that once failed, and others worth running every time. */
export const committedFolder = (name: string): string => join(root, 'test', 'fuzz', 'corpus', name);
/** What long runs have found. */
export const foundFolder = (name: string): string => join(root, 'build', 'fuzz', name);
export const failedFolder = (name: string): string => join(root, 'build', 'fuzz', `${name}-failed`);
export const hungFile = (name: string): string => join(root, 'build', 'fuzz', `${name}-hung.tape`);

/** A path as a command in the repository's folder would name it. */
export const shown = (path: string): string => relative(root, path);

export function readTapeFile(path: string): Tape {
  return tapeFromText(readFileSync(path, 'utf8'));
}

/** All inputs of a folder, by name; none when there is no such folder. */
export function readCorpus(folder: string): Tape[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((file) => file.endsWith('.tape'))
    .sort()
    .map((file) => readTapeFile(join(folder, file)));
}

/** Saves an input in `folder` under a name made of its content; returns the path. */
export function saveTape(folder: string, tape: Tape): string {
  const text = tapeToText(tape);
  const path = join(folder, `${createHash('sha256').update(text).digest('hex').slice(0, 12)}.tape`);
  mkdirSync(folder, { recursive: true });
  writeFileSync(path, text);
  return path;
}

/** Removes the inputs of a folder that are not among `kept`. */
export function pruneFolder(folder: string, kept: ReadonlySet<string>): void {
  if (!existsSync(folder)) return;
  for (const file of readdirSync(folder)) {
    if (file.endsWith('.tape') && !kept.has(join(folder, file))) rmSync(join(folder, file));
  }
}
