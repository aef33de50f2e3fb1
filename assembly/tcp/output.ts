export function tcpFlush(): void {}
