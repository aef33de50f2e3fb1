export function tcpIcmpError(innerIp: u32, innerLen: u32, type: u32, code: u32, mtu: u32): void {}
