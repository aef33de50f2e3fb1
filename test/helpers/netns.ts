// Network namespaces and what tests in them wait for.

import { setTimeout as delay } from 'node:timers/promises';

export {
  createNamespaces,
  finished,
  INTERFACE,
  type Namespace,
  type NamespacePair,
  start,
  stop,
} from '../../src/host/netns.js';

/** Waits until `condition` gives something other than undefined and false. Its errors count as "not yet". */
export async function until<T>(
  what: string,
  condition: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs = 10_000,
): Promise<T> {
  const end = Date.now() + timeoutMs;
  let last: unknown = '';
  for (;;) {
    try {
      const value = await condition();
      if (value !== undefined && value !== false) return value;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`${what}: not within ${timeoutMs} ms${last === '' ? '' : `: ${last}`}`);
    await delay(20);
  }
}
