// Every export of the core and nothing else: this file is the ABI, with abi/layout.ts. Results ≥ 0 are fine, negative
// ones are -errno. Addresses of IP addresses point at 16 bytes, IPv4 mapped.

export { arenaNeeded, enter, flush, ingest, init, poll } from './ingest';
export { linkConfig } from './ip/interface';
export { neighAt, neighDel, neighFail, neighSet } from './ip/neighbour';
export { addressAdd, addressDel, routeAdd, routeAt, routeClear, routeDel } from './ip/route';
export {
  abort,
  accept,
  close,
  connect,
  connectionAt,
  fastOpenRoom,
  info,
  listen,
  recv,
  send,
  sendUrgent,
  sendWith,
  sendv,
  shutdown,
} from './tcp/api';
export { getOption, setOption } from './tcp/sockopt';
export { recordsInUse } from './tcp/records';
export { udpBind, udpClose, udpConnect, udpDisconnect, udpInfo, udpOpen, udpRecv, udpSend } from './udp/api';
export { udpGetOption, udpSetOption } from './udp/option';
export { udpSocketsOpen } from './udp/handle';
export { udpQueued } from './udp/recvq';
export { rxPoolAdd } from './zbuf/rxpool';
export {
  apiAlloc as alloc,
  apiAllocMessage as allocMessage,
  apiDup as dup,
  apiFree as free,
  apiObjectEnd as objectEnd,
  apiRefCount as refCount,
  zbufCheck as check,
  zbufInUse,
} from './zbuf/zbuf';
export { rxInUse } from './zbuf/rx';
export { iovaOf, zoneSetIova } from './zbuf/zone';
