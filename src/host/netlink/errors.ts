import { getSystemErrorName } from 'node:util';

/** An error of the kernel's answer, or of an answer that cannot be understood. */
export interface NetlinkError extends Error {
  code: string;
  errno: number;
  syscall: string;
}

/** @param errno positive, as <errno.h> numbers it. @param detail what the kernel said beyond the number. */
export function netlinkError(errno: number, request: string, detail = ''): NetlinkError {
  const code = errnoName(errno);
  const message = `netlink ${request}: ${code}${detail === '' ? '' : `: ${detail}`}`;
  return Object.assign(new Error(message), { code, errno: -errno, syscall: 'netlink' });
}

/** A message that breaks the format: truncated, lengths that do not add up, wrong sizes. */
export function malformed(what: string): NetlinkError {
  return Object.assign(new Error(`malformed netlink message: ${what}`), {
    code: 'EBADMSG',
    errno: -74,
    syscall: 'netlink',
  });
}

function errnoName(errno: number): string {
  try {
    return getSystemErrorName(-errno);
  } catch {
    return `errno ${errno}`;
  }
}
