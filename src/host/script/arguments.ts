// Arguments that several calls have: addresses and message flags.
import { Unsupported, type Value } from './ast.js';
import type { Settings } from './settings.js';
import type { Destination } from './socket.js';
import { named } from './symbols.js';
import { member } from './values.js';

const MSG_DONTWAIT = named('MSG_DONTWAIT');
const MSG_FASTOPEN = named('MSG_FASTOPEN');
/** Flags that change nothing that a packet or a result would show. */
export const SEND_FLAGS =
  MSG_DONTWAIT |
  named('MSG_NOSIGNAL') |
  named('MSG_EOR') |
  named('MSG_MORE') |
  named('MSG_OOB') |
  MSG_FASTOPEN |
  named('MSG_ZEROCOPY');
export const RECV_FLAGS =
  MSG_DONTWAIT |
  named('MSG_PEEK') |
  named('MSG_WAITALL') |
  named('MSG_TRUNC') |
  named('MSG_NOSIGNAL') |
  named('MSG_ERRQUEUE');

/** Where a sockaddr of a call points; null for what it leaves open. */
export function addressOf(settings: Settings, value: Value | undefined, line: number): Destination {
  if (value?.kind !== 'struct') return { ip: null, port: null };
  const family = member(value, 'sa_family', 'sin_family', 'sin6_family');
  const six = family === named('AF_INET6');
  if (six && settings.ipVersion === 'ipv4') throw new Unsupported(line, 'IPv6 addresses');
  const ip = value.fields.get(six ? 'sin6_addr' : 'sin_addr');
  return {
    ip: ip?.kind === 'string' ? ip.value.replace(/^::ffff:(?=\d+\.)/i, '') : null,
    port: member(value, 'sin_port', 'sin6_port'),
  };
}

/** Throws Unsupported for flags that are not among the known ones. */
export function checkFlags(flags: number, known: number, line: number): number {
  const unknown = flags & ~known;
  if (unknown) throw new Unsupported(line, `the message flags 0x${(unknown >>> 0).toString(16)}`);
  return flags;
}
