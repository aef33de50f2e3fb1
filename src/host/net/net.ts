// lunet/net: the functions and classes of node:net, bound to a stack.
import { isIP, isIPv4, isIPv6 } from 'node:net';
import type { Stack } from '../stack.js';
import { NetContext, type StackSource } from './context.js';
import { type ConnectOptions, connectArguments, type ServerOptions, type SocketOptions } from './options.js';
import { Server as LunetServer } from './server.js';
import { Socket as LunetSocket } from './socket.js';

export type ConnectionListener = (socket: LunetSocket) => void;

export interface Connect {
  (options: ConnectOptions, connectionListener?: () => void): LunetSocket;
  (port: number | string, host: string, connectionListener?: () => void): LunetSocket;
  (port: number | string, connectionListener?: () => void): LunetSocket;
}

export interface CreateServer {
  (connectionListener?: ConnectionListener): LunetServer;
  (options?: ServerOptions, connectionListener?: ConnectionListener): LunetServer;
}

export interface Net {
  readonly Socket: new (options?: SocketOptions) => LunetSocket;
  readonly Stream: Net['Socket'];
  readonly Server: new (
    options?: ServerOptions | ConnectionListener,
    connectionListener?: ConnectionListener,
  ) => LunetServer;
  readonly connect: Connect;
  readonly createConnection: Connect;
  readonly createServer: CreateServer;
  readonly isIP: typeof isIP;
  readonly isIPv4: typeof isIPv4;
  readonly isIPv6: typeof isIPv6;
}

/** node:net over `stack`. Several may share a stack. */
export function createNet(stack: Stack): Net {
  const context = new NetContext(stack);
  return bindNet({ current: context, open: () => Promise.resolve(context) });
}

/** node:net over the stack that `source` has or opens. */
export function bindNet(source: StackSource): Net {
  class Socket extends LunetSocket {
    constructor(options?: SocketOptions) {
      super(source, options);
    }
  }

  class Server extends LunetServer {
    constructor(options?: ServerOptions | ConnectionListener, connectionListener?: ConnectionListener) {
      super(source, Socket, options, connectionListener);
    }
  }

  function connect(...args: unknown[]): LunetSocket {
    const { options, callback } = connectArguments(args);
    const socket = new Socket(options);
    if (options.timeout) socket.setTimeout(options.timeout);
    return socket.connect(options, callback ?? undefined);
  }

  function createServer(
    options?: ServerOptions | ConnectionListener,
    connectionListener?: ConnectionListener,
  ): LunetServer {
    return new Server(options, connectionListener);
  }

  return {
    Socket,
    Stream: Socket,
    Server,
    connect: connect as Connect,
    createConnection: connect as Connect,
    createServer: createServer as CreateServer,
    isIP,
    isIPv4,
    isIPv6,
  };
}
