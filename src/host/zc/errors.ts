// What a refused call on Zbuf memory means, worked out only once it has been refused.
import type { Core } from '../core/core.js';
import { systemError } from '../core/errors.js';
import { CFG_ZONE_BASE, CNT_ZbufMisuse, EFAULT, EINVAL, EMSGSIZE, ENOBUFS, ZONE_BYTES } from '../core/layout.js';

export type ZbufErrorCode =
  /** The address is in no object of this stack. */
  | 'ERR_LUNET_ZBUF_FOREIGN'
  /** The object is free, or its references are the stack's alone: you have given up all of yours. */
  | 'ERR_LUNET_ZBUF_FREED'
  /** The bytes reach beyond the end of their object, or there are none. */
  | 'ERR_LUNET_ZBUF_RANGE'
  /** No free object of the size is left. */
  | 'ERR_LUNET_ZBUF_EXHAUSTED';

export interface ZbufError extends Error {
  code: ZbufErrorCode;
  errno: number;
  syscall: string;
}

function zbufError(code: ZbufErrorCode, errno: number, syscall: string, message: string): ZbufError {
  return Object.assign(new Error(`${syscall}: ${message}`), { code, errno: -errno, syscall });
}

/** Whether a number is one that WebAssembly does not take modulo 2^32. */
export const isU32 = (value: number): boolean => value >>> 0 === value;

const hex = (addr: number): string => (isU32(addr) ? `0x${addr.toString(16)}` : String(addr));

export function exhausted(size: number): ZbufError {
  return zbufError(
    'ERR_LUNET_ZBUF_EXHAUSTED',
    ENOBUFS,
    'alloc',
    `no free object of ${size} bytes: free some, or open the stack with more zones`,
  );
}

/** Whether `addr` lies where objects are. A zone without any is given to the next size that needs one. */
function inZones(core: Core, addr: number): boolean {
  const base = core.dv.getUint32(CFG_ZONE_BASE, true);
  return isU32(addr) && addr >= base && addr < base + core.config.zones * ZONE_BYTES;
}

/** Why the core refused `[addr, addr + len)` with -errno, or null when that range is good. */
export function diagnose(core: Core, errno: number, syscall: string, addr: number, len: number): ZbufError | null {
  const end = isU32(addr) ? core.objectEnd(addr) >>> 0 : 0;
  if (end === 0 && !inZones(core, addr)) {
    return zbufError('ERR_LUNET_ZBUF_FOREIGN', EFAULT, syscall, `${hex(addr)} is not in an object of this stack`);
  }
  if (end === 0 && errno === EFAULT && core.refCount(addr) > 0) {
    return zbufError('ERR_LUNET_ZBUF_FOREIGN', EFAULT, syscall, `${hex(addr)} is room for headers, before the message`);
  }
  if (end === 0) {
    return zbufError('ERR_LUNET_ZBUF_FREED', EINVAL, syscall, `nothing at ${hex(addr)} is yours: freed too often?`);
  }
  if (!(len > 0 && addr + len <= end)) {
    const room = end - addr;
    return zbufError('ERR_LUNET_ZBUF_RANGE', EMSGSIZE, syscall, `${len} bytes at ${hex(addr)}, where ${room} are left`);
  }
  return null;
}

/** The error of a call that the core refused with -errno. */
export function refused(core: Core, errno: number, syscall: string, addr: number, len: number): Error {
  return diagnose(core, errno, syscall, addr, len) ?? systemError(errno, syscall);
}

/** The error of an address or a length that is none. */
export function noNumber(core: Core, syscall: string, addr: number, len: number): Error {
  core.countAdd(CNT_ZbufMisuse, 1);
  return refused(core, EINVAL, syscall, addr, len);
}
