// lunet/dgram: the function and class of node:dgram, bound to a stack.
import { NetContext } from '../net/context.js';
import type { Stack } from '../stack.js';
import type { SocketOptions, SocketType } from './options.js';
import { Socket as LunetSocket, type MessageListener } from './socket.js';

export type CreateSocket = (options: SocketType | SocketOptions, listener?: MessageListener) => LunetSocket;

export interface Dgram {
  readonly Socket: new (options: SocketType | SocketOptions, listener?: MessageListener) => LunetSocket;
  readonly createSocket: CreateSocket;
}

/** node:dgram over `stack`. */
export function createDgram(stack: Stack): Dgram {
  const context = new NetContext(stack);

  class Socket extends LunetSocket {
    constructor(options: SocketType | SocketOptions, listener?: MessageListener) {
      super(context, options, listener);
    }
  }

  return { Socket, createSocket: (options, listener) => new Socket(options, listener) };
}
