// The package `lunet/rpc`.
export type { Iov, Piece } from '../zc/iov.js';
export type { ReplyCallback } from './calls.js';
export {
  type CallOptions,
  type RequestOptions,
  RpcClient,
  type RpcClientOptions,
  type StreamOptions,
} from './client.js';
export type { RpcError, RpcErrorCode } from './errors.js';
export { HEADER_BYTES as RPC_HEADROOM } from './header.js';
export { BufferMemory, type RpcBody, type RpcMemory } from './memory.js';
export type { RpcMessage } from './message.js';
export { type NetLike, type RpcListener, type RpcNetwork, rpcClient, rpcOverNet, rpcOverZc } from './network.js';
export type { RpcRequest } from './request.js';
export { type RpcHandler, RpcServer, type RpcServerConnection, type RpcServerOptions } from './server.js';
export type { RpcCounters, SessionOptions } from './session.js';
export type { RpcStream } from './stream.js';
export type { RpcTransport, TransportSink } from './transport.js';
