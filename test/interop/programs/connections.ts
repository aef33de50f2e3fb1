import { INFO_state } from '../../../src/host/core/layout.js';
import type { Stack } from '../../../src/host/stack.js';

/** How many connections the core has in each state (as Linux numbers them), listeners included. */
export function connectionStates(stack: Stack): Record<number, number> {
  const { core } = stack;
  const states: Record<number, number> = {};
  for (let index = 0; index < core.config.maxConnections; index++) {
    if (core.connectionAt(index, core.scratch) < 0) continue;
    const state = core.dv.getUint32(core.scratch + INFO_state, true);
    states[state] = (states[state] ?? 0) + 1;
  }
  return states;
}
