// The package `lunet/link`: what a link is, and the ways to open one.

export type { MemoryLinkOptions } from './embedded.js';
export type { Link, LinkAttachment, LinkInfo, LinkPlacement, RxPool } from './link.js';
export { loopbackLink } from './loopback.js';
export { memoryLink } from './memory.js';
export { type LinkOffloads, offloadsText } from './offloads.js';
export { openLink } from './open.js';
