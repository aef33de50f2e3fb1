// Errors of lunet/rpc: codes in the process, numbers on the wire.

export type RpcErrorCode =
  /** Too many calls wait already, or the server has no room for the request. */
  | 'ERR_RPC_BUSY'
  /** Cancelled by the client. */
  | 'ERR_RPC_CANCELLED'
  /** The deadline has passed. */
  | 'ERR_RPC_DEADLINE'
  /** The connection was lost after the request had been handed to it. */
  | 'ERR_RPC_LOST'
  /** The connection was lost, or did not open, before any of the request was handed to it. */
  | 'ERR_RPC_UNSENT'
  /** close() was called. */
  | 'ERR_RPC_CLOSED'
  /** The server has no such method. */
  | 'ERR_RPC_METHOD'
  /** The server's handler threw. */
  | 'ERR_RPC_HANDLER'
  /** The message is larger than its receiver takes. */
  | 'ERR_RPC_TOO_LARGE'
  /** The server is closing and takes no new requests. */
  | 'ERR_RPC_UNAVAILABLE'
  /** The peer does not keep to the protocol; the connection is closed. */
  | 'ERR_RPC_PROTOCOL'
  /** The handler answered with fail() and a status of its own. */
  | 'ERR_RPC_APPLICATION'
  /** The peer has ended the stream. */
  | 'ERR_RPC_STREAM_ENDED';

export interface RpcError extends Error {
  code: RpcErrorCode;
  /** The number on the wire; 0 for errors that no peer has sent. */
  status: number;
  /** Whether the server may have begun to execute the request: if not, it is safe to send it again. */
  mayHaveRun: boolean;
}

export const STATUS_OK = 0;
export const STATUS_CANCELLED = 1;
export const STATUS_METHOD = 2;
export const STATUS_BUSY = 3;
export const STATUS_UNAVAILABLE = 4;
export const STATUS_HANDLER = 5;
export const STATUS_TOO_LARGE = 6;
/** Statuses from here on are the application's. */
export const FIRST_APPLICATION_STATUS = 256;

const statuses: Readonly<Record<number, readonly [RpcErrorCode, boolean]>> = {
  [STATUS_CANCELLED]: ['ERR_RPC_CANCELLED', true],
  [STATUS_METHOD]: ['ERR_RPC_METHOD', false],
  [STATUS_BUSY]: ['ERR_RPC_BUSY', false],
  [STATUS_UNAVAILABLE]: ['ERR_RPC_UNAVAILABLE', false],
  [STATUS_HANDLER]: ['ERR_RPC_HANDLER', true],
  [STATUS_TOO_LARGE]: ['ERR_RPC_TOO_LARGE', false],
};

export function rpcError(code: RpcErrorCode, message: string, mayHaveRun = false, status = 0): RpcError {
  return Object.assign(new Error(message), { code, status, mayHaveRun });
}

/** The error behind a status of the peer's. */
export function statusError(status: number, text: string): RpcError {
  const [code, mayHaveRun] = statuses[status] ?? ['ERR_RPC_APPLICATION', true];
  return rpcError(code, text || `the server answered with status ${status}`, mayHaveRun, status);
}

/** An exception of the application's must not unwind ours: it surfaces as an uncaught one afterwards. */
export function surface(error: unknown): void {
  process.nextTick(() => {
    throw error;
  });
}
