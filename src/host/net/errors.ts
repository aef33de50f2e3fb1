// Argument errors in the shape Node gives them; system errors are those of the core's users everywhere.
export { codeError, connectError, errnoOf, listenError, type SystemError, systemError } from '../core/errors.js';

function received(value: unknown): string {
  if (value === null || value === undefined) return `Received ${value}`;
  if (typeof value === 'function') return `Received function ${value.name}`;
  if (typeof value === 'object') {
    const name = value.constructor?.name;
    return name ? `Received an instance of ${name}` : 'Received an object';
  }
  const shown = typeof value === 'string' ? `'${value.slice(0, 28)}'` : String(value);
  return `Received type ${typeof value} (${shown})`;
}

export function invalidArgType(name: string, expected: string, value: unknown): TypeError & { code: string } {
  const kind = name.includes('.') ? 'property' : 'argument';
  return Object.assign(new TypeError(`The "${name}" ${kind} must be ${expected}. ${received(value)}`), {
    code: 'ERR_INVALID_ARG_TYPE',
  });
}

export function invalidArgValue(name: string, value: unknown, reason: string): TypeError & { code: string } {
  return Object.assign(new TypeError(`The argument '${name}' ${reason}. ${received(value)}`), {
    code: 'ERR_INVALID_ARG_VALUE',
  });
}

export function outOfRange(name: string, range: string, value: unknown): RangeError & { code: string } {
  return Object.assign(
    new RangeError(`The value of "${name}" is out of range. It must be ${range}. ${received(value)}`),
    {
      code: 'ERR_OUT_OF_RANGE',
    },
  );
}

/** A port in 0..65535 out of a number or a numeric string; anything else throws ERR_SOCKET_BAD_PORT. */
export function validPort(value: unknown, name: string): number {
  if (typeof value === 'number' || (typeof value === 'string' && value.trim() !== '')) {
    const port = Number(value);
    if (Number.isInteger(port) && port >= 0 && port <= 0xffff) return port;
  }
  throw Object.assign(new RangeError(`${name} should be >= 0 and < 65536. ${received(value)}.`), {
    code: 'ERR_SOCKET_BAD_PORT',
  });
}

/** A timeout in milliseconds: a finite number from 0 on, at most what a timer holds. */
export function validInteger(value: unknown, name: string, least: number, most: number): number {
  if (typeof value !== 'number') throw invalidArgType(name, 'of type number', value);
  if (!Number.isInteger(value) || value < least || value > most) {
    throw outOfRange(name, `an integer >= ${least} && <= ${most}`, value);
  }
  return value;
}

export function validTimeoutMs(value: unknown, name: string): number {
  if (typeof value !== 'number') throw invalidArgType(name, 'of type number', value);
  if (!(value >= 0) || !Number.isFinite(value)) throw outOfRange(name, 'a non-negative finite number', value);
  return Math.min(value, 0x7fffffff);
}

export function validFunction(value: unknown, name: string): void {
  if (typeof value !== 'function') throw invalidArgType(name, 'of type function', value);
}

export function validSignal(value: unknown, name: string): AbortSignal {
  if (value === null || typeof value !== 'object' || !('aborted' in value)) {
    throw invalidArgType(name, 'an instance of AbortSignal', value);
  }
  return value as AbortSignal;
}
