// The package `lunet/zc`.
export type { ConnectionReport } from '../report.js';
export { ZcConnection, type ZcHandler } from './connection.js';
export type { ZbufError, ZbufErrorCode } from './errors.js';
export { Iov, type Piece } from './iov.js';
export { ZC_ERR, ZC_HUP, ZC_IN, ZC_NEW, ZC_OUT, ZC_PRI, ZC_RDHUP, ZcPoll } from './poll.js';
export {
  createZc,
  MAX_MESSAGE_BYTES,
  MAX_OBJECT_BYTES,
  type Zc,
  type ZcConnectOptions,
  type ZcListener,
  type ZcListenOptions,
} from './zc.js';
