import type { Target } from '../target.js';
import { frames } from './frames.js';

/** Every fuzz target, by name. */
export const targets: ReadonlyMap<string, Target> = new Map([frames].map((target) => [target.name, target]));
