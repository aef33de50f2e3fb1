import type { Core } from '../core/core.js';
import { connectError, systemError } from '../core/errors.js';
import { CTL_CLOCK_NS, IOV_SIZE, SCRATCH_SIZE } from '../core/layout.js';
import type { SocketHandler, Stack } from '../stack.js';
import { Framer, nextId, writeRequest } from './frame.js';
import { Meter } from './meter.js';
import type { ClientFigures, Workload } from './types.js';

// Both ends on the core's own events (inline r2c) and by reference: no payload byte is copied and no object is made
// per request.

const EAGAIN = 11;
/** A Zbuf object is at most this large; a longer request is a run of objects. */
const OBJECT_BYTES = 65536;
const MAX_IOVS = Math.floor(SCRATCH_SIZE / IOV_SIZE);
const INITIAL_PIECES = 1024;

/** Received pieces on their way back out, in order. Grows by doubling; never shrinks. */
class PieceQueue {
  private addr = new Uint32Array(INITIAL_PIECES);
  private len = new Uint32Array(INITIAL_PIECES);
  private head = 0;
  private tail = 0;
  /** Leading pieces that belong to complete messages. */
  private complete = 0;

  constructor(private readonly core: Core) {}

  get empty(): boolean {
    return this.head === this.tail;
  }

  push(addr: number, len: number): void {
    if (this.tail === this.addr.length) this.makeRoom();
    this.addr[this.tail] = addr;
    this.len[this.tail++] = len;
  }

  /** Everything queued so far is complete. */
  completeAll(): void {
    this.complete = this.tail;
  }

  /** Sends complete pieces as far as the send queue takes them. Returns 0 or a negative errno other than -EAGAIN. */
  send(handle: number): number {
    const { core } = this;
    let most = MAX_IOVS;
    while (this.head < this.complete) {
      const count = Math.min(this.complete - this.head, most);
      const result =
        count === 1 ? core.send(handle, this.addr[this.head], this.len[this.head]) : this.sendMany(handle, count);
      if (result === -EAGAIN) {
        if (count === 1) return 0;
        // All or nothing: what does not fit together may fit in part.
        most = count >> 1;
        continue;
      }
      if (result < 0) return result;
      for (let i = 0; i < count; i++) core.free(this.addr[this.head++]);
    }
    if (this.head === this.tail) this.head = this.tail = this.complete = 0;
    return 0;
  }

  private sendMany(handle: number, count: number): number {
    const { dv, scratch } = this.core;
    for (let i = 0; i < count; i++) {
      dv.setUint32(scratch + i * IOV_SIZE, this.addr[this.head + i], true);
      dv.setUint32(scratch + i * IOV_SIZE + 4, this.len[this.head + i], true);
    }
    return this.core.sendv(handle, scratch, count);
  }

  private makeRoom(): void {
    const used = this.tail - this.head;
    const grown = used * 2 > this.addr.length;
    const addr = grown ? new Uint32Array(this.addr.length * 2) : this.addr;
    const len = grown ? new Uint32Array(this.len.length * 2) : this.len;
    addr.set(this.addr.subarray(this.head, this.tail));
    len.set(this.len.subarray(this.head, this.tail));
    this.addr = addr;
    this.len = len;
    this.complete -= this.head;
    this.head = 0;
    this.tail = used;
  }

  /** Gives every piece back. */
  clear(): void {
    while (this.head < this.tail) this.core.free(this.addr[this.head++]);
    this.head = this.tail = this.complete = 0;
  }
}

/** Echoes complete messages by reference. Returns the listener's handle. */
export function listenZc(stack: Stack, port: number): number {
  return stack.listen(
    { port, inline: true },
    {
      accept: (handle) => stack.setHandler(handle, echoHandler(stack, handle)),
    },
  );
}

function echoHandler(stack: Stack, handle: number): SocketHandler {
  const { core } = stack;
  const { dv } = core;
  const framer = new Framer();
  const queue = new PieceQueue(core);
  let open = true;

  const end = (how: (handle: number) => number): void => {
    if (!open) return;
    open = false;
    queue.clear();
    how(handle);
    stack.release(handle);
  };
  return {
    data(addr, len) {
      if (!open) {
        core.free(addr);
        return;
      }
      const pieceEnd = addr + len;
      let complete = 0;
      for (let at = framer.next(dv, addr, pieceEnd); at >= 0; at = framer.next(dv, at, pieceEnd)) complete = at;
      if (complete === pieceEnd && queue.empty) {
        const result = core.send(handle, addr, len);
        if (result >= 0) {
          core.free(addr);
          return;
        }
      }
      if (complete > 0 && complete < pieceEnd) {
        // The rest of the piece belongs to the next message and leaves later: a reference of its own.
        core.dup(addr);
        queue.push(addr, complete - addr);
        queue.completeAll();
        queue.push(complete, pieceEnd - complete);
      } else {
        queue.push(addr, len);
        if (complete > 0) queue.completeAll();
      }
      if (framer.bad || (complete > 0 && queue.send(handle) < 0)) end(core.abort);
    },
    writable() {
      if (open && queue.send(handle) < 0) end(core.abort);
    },
    eof: () => end(core.close),
    error: () => end(core.close),
    closed: () => end(core.close),
  };
}

/** One connection of the client: `depth` requests in flight, each in objects of its own, sent again and again. */
class ZcFlow {
  private handle = -1;
  private readonly framer = new Framer();
  private readonly core: Core;
  /** Slot-major: `piecesPerSlot` objects each. */
  private readonly objects: Uint32Array;
  private readonly piecesPerSlot: number;
  private readonly lastBytes: number;
  private readonly ids: Uint32Array;
  private readonly sentAt: Float64Array;
  private slot = 0;
  private verifyAt = 0;
  private flight = 0;
  private open = false;
  /** Requests that wait for room in the send queue, from `unsentSlot` on. */
  private unsent = 0;
  private unsentSlot = 0;
  private unsentPiece = 0;
  readonly connected: Promise<void>;

  constructor(
    private readonly stack: Stack,
    private readonly workload: Workload,
    private readonly meter: Meter,
    server: { address: string; port: number },
  ) {
    const { sizeBytes, depth } = workload;
    this.core = stack.core;
    this.piecesPerSlot = Math.ceil(sizeBytes / OBJECT_BYTES);
    this.lastBytes = sizeBytes - (this.piecesPerSlot - 1) * OBJECT_BYTES;
    this.objects = new Uint32Array(depth * this.piecesPerSlot);
    this.ids = new Uint32Array(depth);
    this.sentAt = new Float64Array(depth);
    this.fillObjects();
    this.connected = new Promise((resolve, reject) => {
      this.handle = stack.connect(
        { port: server.port, address: server.address, inline: true },
        {
          connect: () => {
            this.open = true;
            resolve();
          },
          data: (addr, len) => this.receive(addr, len),
          writable: () => this.sendUnsent(),
          eof: () => this.fail(new Error('the server closed a connection')),
          error: (errno) => {
            reject(connectError(errno, server.address, server.port));
            this.fail(systemError(errno, 'read'));
          },
        },
      );
    });
  }

  private fillObjects(): void {
    const { sizeBytes, depth } = this.workload;
    const whole = new Uint8Array(sizeBytes);
    writeRequest(new DataView(whole.buffer), 0, sizeBytes, 0);
    for (let i = 0; i < this.objects.length; i++) {
      const piece = i % this.piecesPerSlot;
      const bytes = this.pieceBytes(piece);
      const addr = this.core.alloc(bytes);
      if (addr === 0) {
        this.freeObjects();
        throw new Error(`no Zbuf memory for ${depth} requests of ${sizeBytes} bytes on each connection`);
      }
      this.objects[i] = addr;
      this.core.u8.set(whole.subarray(piece * OBJECT_BYTES, piece * OBJECT_BYTES + bytes), addr);
      const slot = (i - piece) / this.piecesPerSlot;
      this.ids[slot] = slot;
      if (piece === 0) this.core.dv.setUint32(addr + 4, slot, true);
    }
  }

  private pieceBytes(piece: number): number {
    return piece === this.piecesPerSlot - 1 ? this.lastBytes : OBJECT_BYTES;
  }

  private now(): number {
    return this.core.dv.getFloat64(CTL_CLOCK_NS, true);
  }

  start(): void {
    this.sentAt.fill(this.now());
    for (let i = 0; i < this.workload.depth; i++) this.sendNext();
  }

  /** Sends the next request in slot order, or queues it behind those that wait. */
  private sendNext(): void {
    this.flight++;
    this.meter.inFlight++;
    this.unsent++;
    if (this.unsent === 1) this.sendUnsent();
  }

  private sendUnsent(): void {
    while (this.unsent > 0) {
      const at = this.unsentSlot * this.piecesPerSlot;
      for (; this.unsentPiece < this.piecesPerSlot; this.unsentPiece++) {
        const bytes = this.pieceBytes(this.unsentPiece);
        const result = this.core.send(this.handle, this.objects[at + this.unsentPiece], bytes);
        if (result === -EAGAIN) return;
        if (result < 0) {
          this.fail(systemError(-result, 'write'));
          return;
        }
      }
      this.unsentPiece = 0;
      this.unsentSlot = this.unsentSlot + 1 === this.workload.depth ? 0 : this.unsentSlot + 1;
      this.unsent--;
    }
  }

  private receive(addr: number, len: number): void {
    const { core, framer, meter } = this;
    const { dv } = core;
    const { sizeBytes, depth } = this.workload;
    const now = dv.getFloat64(CTL_CLOCK_NS, true);
    if (this.workload.verify && !this.matches(addr, len)) {
      core.free(addr);
      this.fail(new Error('a response differs from its request'));
      return;
    }
    const end = addr + len;
    for (let at = framer.next(dv, addr, end); at >= 0; at = framer.next(dv, at, end)) {
      const slot = this.slot;
      const { id } = framer;
      if (id !== this.ids[slot] || framer.length !== sizeBytes || this.flight === 0) {
        core.free(addr);
        this.fail(new Error(`a response carries id ${id}, length ${framer.length}: not what was asked`));
        return;
      }
      this.slot = slot + 1 === depth ? 0 : slot + 1;
      this.flight--;
      meter.inFlight--;
      meter.complete(now - this.sentAt[slot]);
      if (meter.sending) {
        // The response proves that the peer has the whole request: its bytes are ours to change again.
        const next = nextId(id);
        this.ids[slot] = next;
        dv.setUint32(this.objects[slot * this.piecesPerSlot] + 4, next, true);
        this.sentAt[slot] = now;
        this.sendNext();
      }
    }
    core.free(addr);
    if (framer.bad) this.fail(new Error('a response has a length out of bounds'));
  }

  /** Responses come in the order of the requests: the stream received is the slots' bytes over and over. */
  private matches(addr: number, len: number): boolean {
    const { u8 } = this.core;
    const { sizeBytes, depth } = this.workload;
    for (let i = 0; i < len; i++) {
      const slot = Math.floor(this.verifyAt / sizeBytes);
      const offset = this.verifyAt - slot * sizeBytes;
      const piece = Math.floor(offset / OBJECT_BYTES);
      const expected = u8[this.objects[slot * this.piecesPerSlot + piece] + (offset - piece * OBJECT_BYTES)];
      if (u8[addr + i] !== expected) return false;
      this.verifyAt = this.verifyAt + 1 === sizeBytes * depth ? 0 : this.verifyAt + 1;
    }
    return true;
  }

  private fail(error: Error): void {
    if (this.handle < 0) return;
    this.end(this.core.abort);
    this.meter.fail(error);
  }

  /** Ends the connection: in order when nothing is in flight, at once otherwise. */
  close(): void {
    this.end(this.open && this.flight === 0 ? this.core.close : this.core.abort);
    this.freeObjects();
  }

  private end(how: (handle: number) => number): void {
    if (this.handle < 0) return;
    const handle = this.handle;
    this.handle = -1;
    how(handle);
    this.stack.release(handle);
  }

  private freeObjects(): void {
    for (const addr of this.objects) if (addr !== 0) this.core.free(addr);
    this.objects.fill(0);
  }
}

export async function runZcClient(
  stack: Stack,
  server: { address: string; port: number },
  workload: Workload,
  onMeasuring: () => void,
): Promise<ClientFigures> {
  const meter = new Meter();
  const flows: ZcFlow[] = [];
  try {
    return await meter.run(workload, {
      connect: async () => {
        for (let i = 0; i < workload.connections; i++) flows.push(new ZcFlow(stack, workload, meter, server));
        stack.kick();
        await Promise.all(flows.map((flow) => flow.connected));
      },
      start: () => {
        for (const flow of flows) flow.start();
        stack.kick();
      },
      clockNs: () => stack.core.dv.getFloat64(CTL_CLOCK_NS, true),
      onMeasuring,
    });
  } finally {
    for (const flow of flows) flow.close();
    stack.kick();
  }
}
