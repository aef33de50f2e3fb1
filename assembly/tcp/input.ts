export function tcpInput(ip: u32, tcp: u32, l4Len: u32, flags: u32, addrs: u32): void {}
