// Options of UDP sockets.

import { EBADF, EINVAL, ENOPROTOOPT, OPT_BROADCAST, OPT_RCV_BUF_BYTES, OPT_TOS, OPT_TTL } from '../abi/layout';
import { udpFromHandle } from './handle';
import { UF_BROADCAST, udpAt } from './socket';

/** Linux's SOCK_MIN_RCVBUF, and what TCP allows at most. */
const RCV_BUF_LEAST: f64 = 2048;
const RCV_BUF_MOST: f64 = 1073725440;

/** Sets an OPT_…: OPT_BROADCAST, OPT_RCV_BUF_BYTES, OPT_TOS, OPT_TTL. */
export function udpSetOption(handle: i32, option: u32, value: f64): i32 {
  const at = udpFromHandle(handle);
  if (!at) return -EBADF;
  const s = udpAt(at);
  if (!(value >= 0)) return -EINVAL;
  switch (option) {
    case OPT_BROADCAST:
      if (value != 0) s.flags |= UF_BROADCAST;
      else s.flags &= ~UF_BROADCAST;
      return 0;
    case OPT_RCV_BUF_BYTES:
      s.rcvBuf = <u32>min<f64>(max<f64>(value, RCV_BUF_LEAST), RCV_BUF_MOST);
      return 0;
    case OPT_TOS:
      if (value > 255) return -EINVAL;
      s.tos = <u8>value;
      return 0;
    case OPT_TTL:
      if (value > 255) return -EINVAL;
      s.ttl = <u8>value;
      return 0;
  }
  return -ENOPROTOOPT;
}

/** An OPT_…'s value, or -errno. */
export function udpGetOption(handle: i32, option: u32): f64 {
  const at = udpFromHandle(handle);
  if (!at) return -EBADF;
  const s = udpAt(at);
  switch (option) {
    case OPT_BROADCAST:
      return s.flags & UF_BROADCAST ? 1 : 0;
    case OPT_RCV_BUF_BYTES:
      return s.rcvBuf;
    case OPT_TOS:
      return s.tos;
    case OPT_TTL:
      return s.ttl;
  }
  return -ENOPROTOOPT;
}
