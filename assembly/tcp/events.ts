export function flushEvents(): void {}
