import type { Target } from '../target.js';
import { calls } from './calls.js';
import { datagrams } from './datagrams.js';
import { frames } from './frames.js';
import { middle } from './middle.js';
import { options } from './options.js';

/** Every fuzz target, by name. */
export const targets: ReadonlyMap<string, Target> = new Map(
  [frames, options, calls, datagrams, middle].map((target) => [target.name, target]),
);
