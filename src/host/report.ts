// What a connection reports beside its data and its end (RFC 9293 §3.9.1.8).
import { systemError } from './core/errors.js';
import * as L from './core/layout.js';

/** A report changes nothing: the connection goes on. */
export interface ConnectionReport {
  /** What an ICMP error about the connection said: a way that is gone, mostly for a while. */
  readonly error: Error | null;
  /** The same segment has been sent four times without an answer. */
  readonly unanswered: boolean;
  /** Bytes to read until the end of urgent data; 0 when there is none. */
  readonly urgentBytes: number;
}

/** `what`: REPORT_… bits, `errno` that of the ICMP error. */
export function connectionReport(what: number, errno: number, urgentBytes: number): ConnectionReport {
  return {
    error: errno === 0 ? null : systemError(errno, 'read'),
    unanswered: (what & L.REPORT_RETRANSMISSIONS) !== 0,
    urgentBytes,
  };
}
