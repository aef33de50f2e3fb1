// What the connections of one ZcStack share.
import { readAddress } from '../core/address.js';
import type { Core } from '../core/core.js';
import { INFO_local_address, INFO_local_port, INFO_remote_address, INFO_remote_port } from '../core/layout.js';
import type { Stack } from '../stack.js';

export class ZcContext {
  readonly stack: Stack;
  readonly core: Core;

  constructor(stack: Stack) {
    this.stack = stack;
    this.core = stack.core;
  }

  remote(handle: number): { address: string; port: number } | null {
    return this.#endpoint(handle, INFO_remote_address, INFO_remote_port);
  }

  local(handle: number): { address: string; port: number } | null {
    return this.#endpoint(handle, INFO_local_address, INFO_local_port);
  }

  #endpoint(handle: number, address: number, port: number): { address: string; port: number } | null {
    const { core } = this;
    const at = core.scratch;
    if (core.info(handle, at) < 0) return null;
    return { address: readAddress(core.u8, at + address), port: core.dv.getUint32(at + port, true) };
  }
}
