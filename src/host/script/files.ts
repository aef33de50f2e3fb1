// Descriptors of a script that are no sockets, as far as data goes from them into a socket or out of one: pipes for
// splice(), files for sendfile(). Only their sizes matter.
import { statSync } from 'node:fs';
import * as L from '../core/layout.js';
import { Unsupported } from './ast.js';
import type { Socket } from './socket.js';
import type { Attempt, CallContext } from './sockets.js';
import { named } from './symbols.js';
import type { Transfer } from './transfer.js';
import { scalar } from './values.js';

const ENOENT = 2;
/** What a pipe takes: 16 pages. */
const PIPE_BYTES = 65_536;

type File =
  | { readonly kind: 'file'; bytes: number; position: number }
  | { readonly kind: 'pipe'; readonly content: { bytes: number } };

export interface Files {
  readonly calls: Readonly<Record<string, (x: CallContext) => Attempt>>;
  /** False when `fd` is none of these. */
  close(fd: number): boolean;
  /** read() and write() of these; null when `fd` is none of them. */
  read(x: CallContext): Attempt | null;
  write(x: CallContext): Attempt | null;
}

export function createFiles(transfer: Transfer, socketOf: (fd: number) => Socket | undefined): Files {
  const files = new Map<number, File>();

  function open(x: CallContext): Attempt {
    const [path] = x.event.args;
    const fd = scalar(x.event.result);
    if (path?.kind !== 'string' || fd === null) throw new Unsupported(x.line, 'a file without a name');
    const flags = x.number(1);
    return () => {
      const found = statSync(path.value, { throwIfNoEntry: false });
      if (found === undefined && !(flags & named('O_CREAT'))) return -ENOENT;
      const endless = path.value === '/dev/zero';
      const bytes = endless ? Number.POSITIVE_INFINITY : flags & named('O_TRUNC') ? 0 : (found?.size ?? 0);
      files.set(fd, { kind: 'file', bytes, position: 0 });
      return fd;
    };
  }

  function pipe(x: CallContext): Attempt {
    const [ends] = x.event.args;
    const [from, to] = ends?.kind === 'list' ? ends.items.map(scalar) : [];
    if (typeof from !== 'number' || typeof to !== 'number') throw new Unsupported(x.line, 'a pipe without numbers');
    return () => {
      const content = { bytes: 0 };
      files.set(from, { kind: 'pipe', content });
      files.set(to, { kind: 'pipe', content });
      return 0;
    };
  }

  /** sendfile(socket, file, offset, count) */
  function sendfile(x: CallContext): Attempt {
    const socket = socketOf(x.number(0));
    const file = files.get(x.number(1));
    const count = x.number(3);
    if (socket === undefined || file === undefined) return () => -L.EBADF;
    if (file.kind === 'pipe') return () => -L.EINVAL;
    const offset = x.event.args[2]?.kind === 'list' ? scalar(x.event.args[2]) : null;
    const bytes = Math.max(Math.min(count, file.bytes - (offset ?? file.position)), 0);
    const write = transfer.write(x, socket, bytes, 0, null, true);
    return () => {
      const written = bytes === 0 ? 0 : write();
      if (written !== null && written > 0 && offset === null) file.position += written;
      return written;
    };
  }

  /** splice(in, offset, out, offset, length, flags) between a socket and a pipe */
  function splice(x: CallContext): Attempt {
    const [from, to, length, flags] = [x.number(0), x.number(2), x.number(4), x.number(5)];
    const [input, output] = [socketOf(from), socketOf(to)];
    const pipe = files.get(input === undefined ? from : to);
    if (pipe?.kind !== 'pipe' || (input === undefined) === (output === undefined)) {
      throw new Unsupported(x.line, 'splice() other than between a socket and a pipe');
    }
    const { content } = pipe;
    const wait = flags & named('SPLICE_F_NONBLOCK') ? named('MSG_DONTWAIT') : 0;
    if (input !== undefined) {
      const room = Math.min(length, PIPE_BYTES - content.bytes);
      if (room === 0) return () => -L.EAGAIN;
      const read = transfer.read(x, input, room, wait, true);
      return () => {
        const bytes = read();
        if (bytes !== null && bytes > 0) content.bytes += bytes;
        return bytes;
      };
    }
    const bytes = Math.min(length, content.bytes);
    if (bytes === 0 || output === undefined) return () => (wait ? -L.EAGAIN : 0);
    const more = flags & named('SPLICE_F_MORE') ? named('MSG_MORE') : 0;
    const write = transfer.write(x, output, bytes, wait | more, null, true);
    return () => {
      const written = write();
      if (written !== null && written > 0) content.bytes -= written;
      return written;
    };
  }

  return {
    calls: { open, pipe, sendfile, splice },
    close: (fd) => files.delete(fd),
    read(x) {
      const file = files.get(x.number(0));
      const count = x.number(2);
      if (file === undefined) return null;
      return () => {
        const left = file.kind === 'file' ? file.bytes - file.position : file.content.bytes;
        const bytes = Math.max(Math.min(count, left), 0);
        if (file.kind === 'file') file.position += bytes;
        else file.content.bytes -= bytes;
        return bytes;
      };
    },
    write(x) {
      const file = files.get(x.number(0));
      const count = x.number(2);
      if (file === undefined) return null;
      return () => {
        if (file.kind === 'file') {
          file.position += count;
          file.bytes = Math.max(file.bytes, file.position);
        } else file.content.bytes += count;
        return count;
      };
    },
  };
}
