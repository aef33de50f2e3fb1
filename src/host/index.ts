// The package `lunet`.
export type { Core, CoreBuild, CoreConfig } from './core/core.js';
export { createCore } from './core/core.js';
export type { MemoryLinkOptions } from './link/embedded.js';
export type { Link, LinkAttachment, LinkInfo, LinkPlacement, RxPool } from './link/link.js';
export { loopbackLink } from './link/loopback.js';
export { memoryLink } from './link/memory.js';
export { openLink } from './link/open.js';
export type { LoopOptions } from './loop/loop.js';
export { type CongestionName, type ProfileName, type ProfileParameters, profiles } from './profiles.js';
export {
  type BindOptions,
  type ConnectOptions,
  type ListenOptions,
  openStack,
  type SocketHandler,
  type Stack,
  type StackOptions,
} from './stack.js';
export { type TcpInfo, tcpInfo } from './tcp-info.js';
