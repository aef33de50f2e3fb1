// node:dgram's own errors.
import { errnoText } from '../core/errors.js';
import { EBADF } from '../core/layout.js';
import { codeError } from '../net/errors.js';

export const notRunning = (): Error => codeError('ERR_SOCKET_DGRAM_NOT_RUNNING', 'Not running');
export const alreadyBound = (): Error => codeError('ERR_SOCKET_ALREADY_BOUND', 'Socket is already bound');
export const isConnected = (): Error => codeError('ERR_SOCKET_DGRAM_IS_CONNECTED', 'Already connected');
export const notConnected = (): Error => codeError('ERR_SOCKET_DGRAM_NOT_CONNECTED', 'Not connected');

export function badType(): TypeError {
  const message = 'Bad socket type specified. Valid types are: udp4, udp6';
  return Object.assign(new TypeError(message), { code: 'ERR_SOCKET_BAD_TYPE' });
}

export function badBufferSize(): TypeError {
  return Object.assign(new TypeError('Buffer size must be a positive integer'), { code: 'ERR_SOCKET_BAD_BUFFER_SIZE' });
}

/** A buffer size was asked for, or set, before the socket was bound. */
export function bufferSizeOfUnbound(): Error {
  return codeError('ERR_SOCKET_BUFFER_SIZE', `Could not get or set buffer size: EBADF (${errnoText(EBADF)})`);
}

export function outOfBounds(name: string): RangeError {
  return Object.assign(new RangeError(`"${name}" is outside of buffer bounds`), { code: 'ERR_BUFFER_OUT_OF_BOUNDS' });
}
