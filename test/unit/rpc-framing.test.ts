// The framing of lunet/rpc: whatever way the bytes are cut, and whatever the bytes are.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Framer, type FrameSink } from '../../src/host/rpc/framing.js';
import {
  FLAG_END,
  HEADER_BYTES,
  KIND_CANCEL,
  KIND_CREDIT,
  KIND_DATA,
  KIND_ERROR,
  KIND_HELLO,
  KIND_PING,
  KIND_REQUEST,
  KIND_RESPONSE,
  writeHeader,
} from '../../src/host/rpc/header.js';
import { BufferMemory, gather } from '../../src/host/rpc/memory.js';
import { type Random, random } from '../helpers/random.js';

const MAX_MESSAGE = 100_000;

interface Reader {
  readonly memory: BufferMemory;
  readonly framer: Framer;
  readonly seen: string[];
  wrong: string | null;
  /** Hands over bytes in an object of their own, somewhere in it. */
  feed(bytes: Uint8Array): void;
}

const digest = (bytes: Uint8Array): string => `${bytes.length}:${bytes.reduce((sum, b) => (sum * 31 + b) % 65521, 1)}`;

function reader(): Reader {
  const memory = new BufferMemory();
  let data: Buffer[] = [];
  const sink: FrameSink = {
    message(frame) {
      const { kind, flags, id, method, deadlineUs, status, credit } = frame;
      const fields = [kind, flags, id, method, deadlineUs, status, credit].join(' ');
      self.seen.push(`${fields} ${frame.oversize ? 'oversize' : digest(gather(memory, frame.pieces))}`);
    },
    dataBegin(frame) {
      self.seen.push(`data ${frame.id} ${frame.length}`);
      data = [];
    },
    data(addr, len) {
      data.push(Buffer.from(memory.view(addr, len)));
      memory.free(addr);
    },
    dataEnd(last) {
      self.seen.push(`end ${last} ${digest(Buffer.concat(data))}`);
    },
    malformed(what) {
      assert.is(self.wrong, null, 'said once');
      self.wrong = what;
    },
  };
  const self: Reader = {
    memory,
    framer: new Framer(memory, sink, MAX_MESSAGE),
    seen: [],
    wrong: null,
    feed(bytes) {
      const buffer = Buffer.alloc(bytes.length + 11);
      buffer.set(bytes, 7);
      const addr = memory.adopt(buffer);
      self.framer.receive(new DataView(buffer.buffer, buffer.byteOffset, buffer.length), 7, addr + 7, bytes.length);
    },
  };
  return self;
}

interface Fields {
  kind: number;
  flags?: number;
  id?: number;
  method?: number;
  payload?: Uint8Array;
  deadlineUs?: number;
  status?: number;
  credit?: number;
  /** Bytes of the header that this version does not know. */
  extension?: number;
}

function message(fields: Fields): Buffer {
  const { kind, flags = 0, id = 0, method = 0, payload = Buffer.alloc(0), extension = 0 } = fields;
  const { deadlineUs = 0, status = 0, credit = 0 } = fields;
  const out = Buffer.alloc(HEADER_BYTES + extension + payload.length, 0xee);
  const view = new DataView(out.buffer, out.byteOffset, out.length);
  writeHeader(view, 0, kind, flags, id, method, payload.length, deadlineUs, status, credit);
  view.setUint16(6, HEADER_BYTES + extension, true);
  out.set(payload, HEADER_BYTES + extension);
  return out;
}

function randomMessage(rng: Random): Buffer {
  const kinds = [KIND_HELLO, KIND_REQUEST, KIND_RESPONSE, KIND_ERROR, KIND_CANCEL, KIND_DATA, KIND_CREDIT, KIND_PING];
  const kind = kinds[rng.below(kinds.length)];
  const carries = [KIND_REQUEST, KIND_RESPONSE, KIND_ERROR, KIND_DATA].includes(kind);
  const length = carries ? rng.below([1, 40, 5000, 65_000][rng.below(4)]) : 0;
  const payload = Uint8Array.from({ length }, () => rng.below(256));
  return message({
    kind,
    flags: rng.below(4),
    id: rng.below(2 ** 32),
    method: rng.below(2 ** 32),
    deadlineUs: rng.below(2 ** 32),
    status: rng.below(2 ** 32),
    credit: rng.below(2 ** 32),
    extension: rng.below(4) === 0 ? rng.below(200) : 0,
    payload,
  });
}

/** Cuts into pieces of up to `most` bytes. */
function feedInPieces(to: Reader, bytes: Uint8Array, rng: Random, most: number): void {
  for (let at = 0; at < bytes.length; ) {
    const n = Math.min(1 + rng.below(most), bytes.length - at);
    to.feed(bytes.subarray(at, at + n));
    at += n;
  }
}

test('the header is 32 bytes, little-endian, at fixed offsets', () => {
  const bytes = message({
    kind: KIND_REQUEST,
    flags: 0x0102,
    id: 0x03040506,
    method: 0x0708090a,
    deadlineUs: 0x0b0c0d0e,
    status: 0x0f101112,
    credit: 0x13141516,
    payload: Buffer.from('xy'),
  });
  assert.is(
    bytes.toString('hex'),
    '52500102' + '02012000' + '06050403' + '0a090807' + '02000000' + '0e0d0c0b' + '1211100f' + '16151413' + '7879',
  );
});

test('messages are the same however the bytes are cut, and nothing stays behind', () => {
  for (let seed = 1; seed <= 60; seed++) {
    const rng = random(seed);
    const stream = Buffer.concat(Array.from({ length: 12 }, () => randomMessage(rng)));
    const whole = reader();
    for (let at = 0; at < stream.length; at += 60_000) whole.feed(stream.subarray(at, at + 60_000));
    assert.is(whole.wrong, null, `seed ${seed}`);
    const cut = reader();
    feedInPieces(cut, stream, rng, [400, 1460, 8948, 60_000][seed % 4]);
    assert.is(cut.wrong, null, `seed ${seed}`);
    assert.equal(cut.seen, whole.seen, `seed ${seed}`);
    assert.is(cut.framer.inMessage, false);
    assert.is(whole.memory.inUse + cut.memory.inUse, 0, `seed ${seed}: objects in use`);
  }
});

test('headers may come byte by byte', () => {
  const to = reader();
  const bytes = Buffer.concat([
    message({ kind: KIND_REQUEST, id: 5, payload: Buffer.from('abc'), extension: 3 }),
    message({ kind: KIND_DATA, id: 6, flags: FLAG_END, payload: Buffer.from('de') }),
  ]);
  for (const byte of bytes) to.feed(Uint8Array.of(byte));
  assert.is(to.wrong, null);
  assert.is(to.seen.length, 3);
  assert.is(to.memory.inUse, 0);
});

test('payload is handed on where it lies', () => {
  const memory = new BufferMemory();
  const buffer = Buffer.concat([message({ kind: KIND_REQUEST, payload: Buffer.from('in place') })]);
  const addr = memory.adopt(buffer);
  let at = 0;
  const unused = (): void => assert.unreachable();
  const framer = new Framer(
    memory,
    {
      message: (frame) => {
        at = frame.pieces.addr(0);
        assert.is(frame.headerView?.getUint8(frame.headerAt), 0x52, 'the header in front may be written over');
      },
      dataBegin: unused,
      data: unused,
      dataEnd: unused,
      malformed: unused,
    },
    MAX_MESSAGE,
  );
  framer.receive(new DataView(buffer.buffer, buffer.byteOffset, buffer.length), 0, addr, buffer.length);
  assert.is(at, addr + HEADER_BYTES);
  assert.is(memory.inUse, 0);
});

test('a stream that ends early leaves nothing behind when it is stopped', () => {
  const rng = random(3);
  for (let i = 0; i < 200; i++) {
    const to = reader();
    const stream = Buffer.concat([randomMessage(rng), randomMessage(rng)]);
    feedInPieces(to, stream.subarray(0, rng.below(stream.length)), rng, 2000);
    to.framer.stop();
    assert.is(to.memory.inUse, 0);
  }
});

test('what is not the protocol is refused at its first header', () => {
  const good = message({ kind: KIND_REQUEST, payload: Buffer.from('x') });
  const changed = (at: number, ...bytes: number[]): Buffer => {
    const bad = Buffer.from(good);
    bad.set(bytes, at);
    return bad;
  };
  for (const [bad, reason] of [
    [Buffer.from('GET / HTTP/1.1\r\nHost: somewhere\r\n\r\n'), /not the protocol/],
    [changed(2, 2), /version/],
    [changed(3, 0), /kind 0/],
    [changed(3, 11), /kind 11/],
    [changed(6, 31, 0), /a header of 31 bytes/],
    [changed(6, 1, 1), /a header of 257 bytes/],
    [message({ kind: KIND_PING, payload: Buffer.from('x') }), /a payload in kind 8/],
  ] as const) {
    const to = reader();
    to.feed(bad);
    assert.match(to.wrong ?? 'nothing', reason);
    to.feed(good);
    assert.is(to.seen.length, 0, 'nothing more is read');
    assert.is(to.memory.inUse, 0);
  }
});

test('a length beyond the limit is passed over without holding any of it', () => {
  const to = reader();
  const big = message({ kind: KIND_REQUEST, id: 9, payload: Buffer.alloc(MAX_MESSAGE + 1) });
  for (let at = 0; at < big.length; at += 10_000) {
    to.feed(big.subarray(at, at + 10_000));
    assert.is(to.memory.inUse, 0);
  }
  to.feed(message({ kind: KIND_REQUEST, id: 10, payload: Buffer.from('next') }));
  assert.is(to.seen.length, 2);
  assert.match(to.seen[0], /oversize/);
  assert.is(to.wrong, null);
  // Four GiB that never come hold nothing either.
  const hostile = reader();
  const header = message({ kind: KIND_RESPONSE });
  header.writeUInt32LE(0xffff_ffff, 16);
  hostile.feed(header);
  for (let i = 0; i < 50; i++) hostile.feed(Buffer.alloc(1000));
  assert.is(hostile.memory.inUse, 0);
});

test('a message in pieces of a byte each is refused before it holds many objects', () => {
  const to = reader();
  to.feed(message({ kind: KIND_REQUEST, payload: Buffer.alloc(MAX_MESSAGE) }).subarray(0, HEADER_BYTES));
  let most = 0;
  for (let i = 0; i < 5000 && to.wrong === null; i++) {
    to.feed(Uint8Array.of(i & 255));
    most = Math.max(most, to.memory.inUse);
  }
  assert.match(to.wrong ?? 'nothing', /pieces of a few bytes/);
  assert.ok(most <= 1024, `${most} objects`);
  assert.is(to.memory.inUse, 0);
});

test('fuzz: mutated streams are read or refused, and never leak', () => {
  let refused = 0;
  for (let seed = 1; seed <= 400; seed++) {
    const rng = random(seed);
    const stream = Buffer.concat(Array.from({ length: 5 }, () => randomMessage(rng)));
    for (let i = 0; i <= rng.below(8); i++) stream[rng.below(stream.length)] = rng.below(256);
    const to = reader();
    feedInPieces(to, stream, rng, [50, 1460, 60_000][seed % 3]);
    if (to.wrong !== null) refused++;
    else to.framer.stop();
    assert.is(to.memory.inUse, 0, `seed ${seed}`);
  }
  assert.ok(refused > 0);
});

test.run();
