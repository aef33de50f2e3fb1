export function tcpTimer(tcb: u32, nodeOffset: u32): void {}
