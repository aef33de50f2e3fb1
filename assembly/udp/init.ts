// What UDP takes of the arena.

import { arenaAlloc } from '../abi/arena';
import { CFG_UDP_DATAGRAMS, CFG_UDP_SOCKETS, ENOMEM } from '../abi/layout';
import { udpSlotsInit } from './handle';
import { udpRecordsInit, udpRecordsNeeded } from './recvq';
import { UDP_SLOT_SIZE } from './socket';
import { udpTableInit, udpTableNeeded } from './table';

@inline const SOCKETS_MAX: u32 = 1 << 16;
@inline const DATAGRAMS_MAX: u32 = 1 << 20;

export function udpParametersFine(): bool {
  return load<u32>(CFG_UDP_SOCKETS) <= SOCKETS_MAX && load<u32>(CFG_UDP_DATAGRAMS) <= DATAGRAMS_MAX;
}

export function udpArenaNeeded(): u32 {
  return load<u32>(CFG_UDP_SOCKETS) * UDP_SLOT_SIZE + 64 + udpTableNeeded() + udpRecordsNeeded();
}

export function udpInit(): i32 {
  const sockets = load<u32>(CFG_UDP_SOCKETS);
  const slots = arenaAlloc(sockets * UDP_SLOT_SIZE, 64);
  if (slots == 0 || !udpTableInit() || !udpRecordsInit()) return -ENOMEM;
  udpSlotsInit(slots, sockets);
  return 0;
}
