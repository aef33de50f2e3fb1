export type { NetlinkError } from './errors.js';
export { type InterfaceAddress, type InterfaceInfo, interfaceInfo } from './interface.js';
export type { NetlinkAddon, RawNetlink } from './socket.js';
export { type NetlinkSync, type NetlinkSyncOptions, openNetlinkSync } from './sync.js';
export type { CoreTables } from './tables.js';
