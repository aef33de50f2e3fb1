export function tcpArenaNeeded(): u32 {
  return 0;
}

export function tcpInit(): i32 {
  return 0;
}
