// Errors in the shape Node's own networking gives them: `code`, `errno` (negative), `syscall`, `address`, `port`.
import { getSystemErrorMap } from 'node:util';

export interface SystemError extends Error {
  code: string;
  errno: number;
  syscall: string;
  address?: string;
  port?: number;
}

const systemErrors = getSystemErrorMap();

/** `ECONNRESET` for 104. Takes the positive errno the core reports. */
export function errnoName(errno: number): string {
  return systemErrors.get(-errno)?.[0] ?? `E${errno}`;
}

/** The system's text for an errno, e.g. "connection reset by peer". */
export function errnoText(errno: number): string {
  return systemErrors.get(-errno)?.[1] ?? 'unknown error';
}

/** An error of a call on an open connection: `read ECONNRESET`. */
export function systemError(errno: number, syscall: string, detail = ''): SystemError {
  const code = errnoName(errno);
  return Object.assign(new Error(`${syscall} ${code}${detail}`), { code, errno: -errno, syscall });
}

/** An error of a call about an address and port: `bind EADDRINUSE 10.0.0.1:53`. */
export function addressError(errno: number, syscall: string, address: string, port: number): SystemError {
  return Object.assign(systemError(errno, syscall, ` ${address}:${port}`), { address, port });
}

/** An error of an active open: `connect ECONNREFUSED 10.0.0.1:80`. */
export function connectError(errno: number, address: string, port: number): SystemError {
  return addressError(errno, 'connect', address, port);
}

/** An error of a passive open: `listen EADDRINUSE: address already in use 10.0.0.1:80`. */
export function listenError(errno: number, address: string, port: number): SystemError {
  return Object.assign(systemError(errno, 'listen', `: ${errnoText(errno)} ${address}:${port}`), { address, port });
}

/** The errno of a Node-style error thrown by the stack, or 0 when it carries none. */
export function errnoOf(error: unknown): number {
  const errno = (error as { errno?: unknown } | null)?.errno;
  return typeof errno === 'number' && errno < 0 ? -errno : 0;
}

/** An error that carries one of Node's codes and no errno. */
export function codeError(code: string, message: string): Error & { code: string } {
  return Object.assign(new Error(message), { code });
}
