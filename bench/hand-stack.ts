// What lunet/zc and lunet/rpc need of a stack, over a pair of cores that is driven by hand.
import { writeAddress } from '../src/host/core/address.js';
import type { Core } from '../src/host/core/core.js';
import * as L from '../src/host/core/layout.js';
import type { SocketHandler, Stack } from '../src/host/stack.js';
import type { Pair } from './pair.js';

/** A stack for each core of a pair of two instances. */
export function handStacks(pair: Pair): { server: Stack; client: Stack } {
  const server = new Map<number, SocketHandler>();
  const client = new Map<number, SocketHandler>();
  pair.onEvent = (core, handle, kind, a, b) => {
    const handler = (core === pair.server ? server : client).get(handle)!;
    if (kind === L.EV_DATA) handler.data!(a, b);
    else if (kind === L.EV_ACCEPT) handler.accept!(a);
    else if (kind === L.EV_CONNECT) handler.connect!();
    else if (kind === L.EV_WRITE) handler.writable!();
    else throw new Error(`event ${kind}`);
  };
  return { server: handStack(pair.server, server), client: handStack(pair.client, client) };
}

function handStack(core: Core, handlers: Map<number, SocketHandler>): Stack {
  const opened = (handle: number, handler: SocketHandler): number => {
    if (handle < 0) throw new Error(`errno ${-handle}`);
    handlers.set(handle, handler);
    return handle;
  };
  const stack: Partial<Stack> = {
    core,
    turning: true,
    listen({ port }, handler) {
      core.u8.fill(0, core.scratch, core.scratch + 16);
      return opened(core.listen(core.scratch, port, 511, L.SOCK_INLINE), handler);
    },
    connect({ port, address }, handler) {
      writeAddress(core.u8, core.scratch, address);
      return opened(core.connect(core.scratch, port, 0, 0, L.SOCK_INLINE), handler);
    },
    setHandler: (handle, handler) => void handlers.set(handle, handler),
    release: (handle) => void handlers.delete(handle),
    kick() {},
    enter() {},
    onClose() {},
    nowUs: () => core.dv.getFloat64(L.CTL_CLOCK_NS, true) / 1000,
  };
  return stack as Stack;
}
