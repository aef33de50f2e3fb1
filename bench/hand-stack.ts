// What lunet/zc and lunet/rpc need of a stack, over an end that is driven by hand.
import { writeAddress } from '../src/host/core/address.js';
import * as L from '../src/host/core/layout.js';
import type { SocketHandler, Stack } from '../src/host/stack.js';
import type { End } from './pair.js';

export function handStack(end: End): Stack {
  const { core, link } = end;
  const handlers = new Map<number, SocketHandler>();
  end.onEvent = (handle, kind, a, b) => {
    const handler = handlers.get(handle)!;
    if (kind === L.EV_DATA) handler.data!(a, b);
    else if (kind === L.EV_ACCEPT) handler.accept!(a);
    else if (kind === L.EV_CONNECT) handler.connect!();
    else if (kind === L.EV_WRITE) handler.writable!();
    else throw new Error(`event ${kind}`);
  };
  const opened = (handle: number, handler: SocketHandler): number => {
    if (handle < 0) throw new Error(`errno ${-handle}`);
    handlers.set(handle, handler);
    return handle;
  };
  const stack: Partial<Stack> = {
    core,
    link,
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
