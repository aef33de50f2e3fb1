// The package `lunet/dgram`: node:dgram's interface over a stack.
export { type CreateSocket, createDgram, type Dgram } from './dgram.js';
export type { BindOptions, Lookup, Message, SendCallback, SocketOptions, SocketType } from './options.js';
export type { RemoteInfo, Socket } from './socket.js';
