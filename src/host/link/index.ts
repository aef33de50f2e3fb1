// The package `lunet/link`: what a link is, and the ways to open one.
export type { Link, LinkAttachment, LinkInfo, LinkPlacement, RxPool } from './link.js';
export { type MemoryLinkOptions, memoryLink } from './memory.js';
export { openLink } from './open.js';
