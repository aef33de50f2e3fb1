// Arguments of sendmsg(), recvmsg(), readv() and writev().
import { Mismatch, Unsupported, type Value } from './ast.js';
import { named } from './symbols.js';
import { member, scalar } from './values.js';

/** Bytes of an iovec list: `[{..., 1000}, {..., 500}]`. */
export function iovBytes(value: Value | undefined, line: number): number {
  if (value?.kind !== 'list') throw new Unsupported(line, 'an iovec that is no list');
  let total = 0;
  for (const entry of value.items) {
    const length =
      entry.kind === 'struct' ? (entry.items[1] ?? entry.fields.get('iov_len') ?? entry.fields.get('len')) : undefined;
    const bytes = scalar(length);
    if (bytes === null) throw new Unsupported(line, 'an iovec entry without a length');
    total += bytes;
  }
  return total;
}

function fields(value: Value | undefined, line: number): ReadonlyMap<string, Value> {
  if (value?.kind !== 'struct') throw new Unsupported(line, 'a message that is no struct');
  return value.fields;
}

/** Bytes of the message's iovec. */
export function messageBytes(value: Value | undefined, line: number): number {
  const iov = fields(value, line).get('msg_iov');
  return iov === undefined ? 0 : iovBytes(iov, line);
}

/** A control message: level, type, and a number or named fields. */
export interface Control {
  readonly level: number;
  readonly type: number;
  readonly data: number | Readonly<Record<string, number>> | { readonly atUs: number };
}

function compareFields(expected: Value | undefined, actual: Readonly<Record<string, number>>, line: number): void {
  if (expected === undefined || expected.kind === 'any') return;
  if (expected.kind !== 'struct') throw new Unsupported(line, 'this data of a control message');
  for (const [name, value] of expected.fields) {
    const number = scalar(value);
    if (value.kind === 'any') continue;
    if (number === null || !Object.hasOwn(actual, name)) throw new Unsupported(line, `${name} of a control message`);
    if (number !== actual[name]) throw new Mismatch(line, `${name} is ${actual[name]}, not ${number}`);
  }
}

/** Whether the buffer of a call, or the first of its iovec or message, is NULL. */
export function isNull(value: Value | undefined): boolean {
  if (value?.kind === 'number') return value.value === 0;
  if (value?.kind === 'struct' && value.fields.has('msg_iov')) return isNull(value.fields.get('msg_iov'));
  if (value?.kind === 'list' && value.items.length > 0) return isNull(value.items[0]);
  return value?.kind === 'struct' && value.items.length > 0 && isNull(value.items[0]);
}

/** What a sent message asks for by SO_TIMESTAMPING, null when nothing. No other control message can be sent. */
export function sentStamps(value: Value | undefined, line: number): number | null {
  const control = fields(value, line).get('msg_control');
  if (control?.kind !== 'list' || control.items.length === 0) return null;
  const [only] = control.items;
  const stamping =
    member(only, 'cmsg_level') === named('SOL_SOCKET') && member(only, 'cmsg_type') === named('SO_TIMESTAMPING');
  const flags = member(only, 'cmsg_data');
  if (!stamping || flags === null || control.items.length > 1) throw new Unsupported(line, 'sending control messages');
  return flags;
}

/** A time of a control message: since the script began, in seconds and nanoseconds. */
function compareTime(expected: Value | undefined, atUs: number, line: number, toleranceUs: number): void {
  const [seconds, nanoseconds] = [member(expected, 'scm_sec', 'tv_sec'), member(expected, 'scm_nsec', 'tv_nsec')];
  if (seconds === null || nanoseconds === null) return;
  const wanted = seconds * 1e6 + nanoseconds / 1000;
  if (Math.abs(wanted - atUs) <= toleranceUs) return;
  throw new Mismatch(line, `the time is ${(atUs / 1e6).toFixed(6)} s, not ${(wanted / 1e6).toFixed(6)} s`);
}

/** Compares what a script expects in msg_control with what came. */
export function checkControl(
  value: Value | undefined,
  came: readonly Control[],
  line: number,
  toleranceUs: number,
): void {
  const expected = fields(value, line).get('msg_control');
  if (expected === undefined || expected.kind === 'any') return;
  const list = expected.kind === 'list' ? expected.items : [expected];
  if (list.length === 1 && list[0].kind === 'any') return;
  for (const [i, entry] of list.entries()) {
    if (entry.kind !== 'struct') throw new Unsupported(line, 'a control message that is no struct');
    const field = (name: string): number | null => {
      const found = entry.fields.get(name);
      if (found === undefined || found.kind === 'any') return null;
      const number = scalar(found);
      if (number === null) throw new Unsupported(line, `${name} of a control message`);
      return number;
    };
    const [level, type] = [field('cmsg_level'), field('cmsg_type')];
    const actual = came[i];
    if (actual === undefined) throw new Mismatch(line, 'there is no such control message');
    if ((level !== null && level !== actual.level) || (type !== null && type !== actual.type)) {
      throw new Mismatch(line, `the control message has level ${actual.level} and type ${actual.type}`);
    }
    if (typeof actual.data !== 'number' && 'atUs' in actual.data) {
      compareTime(entry.fields.get('cmsg_data'), actual.data.atUs, line, toleranceUs);
    } else if (typeof actual.data !== 'number') compareFields(entry.fields.get('cmsg_data'), actual.data, line);
    else {
      const data = field('cmsg_data');
      if (data !== null && data !== actual.data) {
        throw new Mismatch(line, `the control message says ${actual.data}, not ${data}`);
      }
    }
  }
  if (came.length > list.length) throw new Mismatch(line, `there are ${came.length} control messages`);
}
