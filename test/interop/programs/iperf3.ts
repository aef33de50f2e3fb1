// iperf3's protocol on lunet, so that a real iperf3 can be the other end, in either role and either direction. What a
// real iperf3 sends is one block of random bytes again and again, or the beginning of it: all is compared with the first.
//
//   iperf3 LINK-URI                          then, by messages: serve once, or run a test against a server
//
// A control connection carries states of one byte, and JSON behind a length; data connections carry the cookie first.

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Server, Socket } from 'node:net';
import { openLunet } from './lunet.js';

export type Iperf3Request =
  | { ask: 'serve'; host: string; port: number }
  | { ask: 'run'; host: string; port: number; bytes: number; parallel: number; reverse: boolean };

export interface Iperf3Report {
  error: string;
  sent: number;
  received: number;
  /** Bytes received that differ from the block they repeat. */
  wrong: number;
  /** lunet's retransmissions, probes for a lost tail among them. */
  retransmitted: number;
  probes: number;
  timeouts: number;
}

const TEST_START = 1;
const TEST_RUNNING = 2;
const TEST_END = 4;
const PARAM_EXCHANGE = 9;
const CREATE_STREAMS = 10;
const EXCHANGE_RESULTS = 13;
const DISPLAY_RESULTS = 14;
const IPERF_DONE = 16;
const COOKIE_BYTES = 37;
/** Small enough that the kernel takes the first block whole. */
const BLOCK_BYTES = 8 * 1024;
const MOST_BY_CHANCE = 8;

interface Parameters {
  len?: number;
  num?: number;
  parallel?: number;
  reverse?: boolean;
}

interface Results {
  streams: { id: number; bytes: number }[];
}

/** Reads exactly as many bytes as asked for. */
class Connection {
  #chunks = Buffer.alloc(0);
  #wanted: (() => void) | null = null;
  #closed = false;

  constructor(readonly socket: Socket) {
    socket.on('data', this.#onData);
    socket.on('close', () => {
      this.#closed = true;
      this.#wanted?.();
    });
  }

  readonly #onData = (bytes: Buffer): void => {
    this.#chunks = Buffer.concat([this.#chunks, bytes]);
    this.#wanted?.();
  };

  async read(length: number): Promise<Buffer> {
    while (this.#chunks.length < length) {
      if (this.#closed) throw new Error('the peer closed a connection');
      await new Promise<void>((resolve) => {
        this.#wanted = resolve;
      });
    }
    const bytes = this.#chunks.subarray(0, length);
    this.#chunks = this.#chunks.subarray(length);
    return bytes;
  }

  async state(): Promise<number> {
    return (await this.read(1)).readInt8(0);
  }

  async expect(state: number): Promise<void> {
    const got = await this.state();
    if (got !== state) throw new Error(`state ${got} instead of ${state}`);
  }

  async json<T>(): Promise<T> {
    const length = (await this.read(4)).readUInt32BE(0);
    return JSON.parse((await this.read(length)).toString()) as T;
  }

  sendState(state: number): void {
    this.socket.write(Buffer.from([state]));
  }

  sendJson(value: object): void {
    const text = Buffer.from(JSON.stringify(value));
    const length = Buffer.alloc(4);
    length.writeUInt32BE(text.length);
    this.socket.write(Buffer.concat([length, text]));
  }

  /** Hands over what comes from now on. */
  stream(take: (bytes: Buffer) => void): void {
    this.socket.off('data', this.#onData);
    if (this.#chunks.length > 0) take(this.#chunks);
    this.socket.on('data', take);
  }
}

/** A data connection: sends one block again and again, or checks that it receives one. */
class Stream {
  bytes = 0;
  wrong = 0;
  #first: Buffer[] | null = [];
  #block = Buffer.alloc(0);
  /** Offset in the block of the next byte. */
  #at = 0;

  constructor(
    readonly connection: Connection,
    readonly blockBytes: number,
  ) {}

  receive(enough: (bytes: number) => void): void {
    this.connection.stream((bytes) => {
      this.#check(bytes);
      this.bytes += bytes.length;
      enough(bytes.length);
    });
  }

  /** Sends until `done` says so. */
  async send(done: (next: number) => boolean): Promise<void> {
    const { socket } = this.connection;
    const block = randomBytes(this.blockBytes);
    while (!socket.destroyed && !done(block.length)) {
      this.bytes += block.length;
      if (!socket.write(block)) await Promise.race([once(socket, 'drain'), once(socket, 'close')]);
    }
  }

  #check(bytes: Buffer): void {
    let i = 0;
    if (this.#first) {
      const part = bytes.subarray(0, this.blockBytes - this.bytes);
      this.#first.push(Buffer.from(part));
      if (this.bytes + part.length < this.blockBytes) return;
      this.#block = Buffer.concat(this.#first);
      this.#first = null;
      i = part.length;
    }
    while (i < bytes.length) {
      const length = Math.min(bytes.length - i, this.blockBytes - this.#at);
      if (bytes.compare(this.#block, this.#at, this.#at + length, i, i + length) === 0) {
        i += length;
        this.#at = (this.#at + length) % this.blockBytes;
        continue;
      }
      let same = 0;
      while (bytes[i + same] === this.#block[this.#at + same]) same++;
      const restart = this.#restart(bytes, i, same);
      if (restart >= 0) {
        i = restart;
        this.#at = 0;
      } else {
        this.wrong++;
        i += same + 1;
        this.#at = (this.#at + same + 1) % this.blockBytes;
      }
    }
  }

  /**
   * iperf3 begins a new block when the kernel had no room for all of the last one. Where one begins that takes the
   * place of the byte at `from + same`, which is the first to differ; some bytes before may be the same by chance.
   */
  #restart(bytes: Buffer, from: number, same: number): number {
    for (let chance = 0; chance <= Math.min(same, MOST_BY_CHANCE); chance++) {
      const at = from + same - chance;
      const known = Math.min(bytes.length - at, MOST_BY_CHANCE);
      if (at !== from - this.#at && bytes.compare(this.#block, 0, known, at, at + known) === 0) return at;
    }
    return -1;
  }
}

/** iperf3 numbers its streams 1, 3, 4, 5, … */
const streamId = (index: number): number => (index === 0 ? 1 : index + 2);

const { net, stack } = await openLunet(process.argv[2]);

function results(streams: readonly Stream[], seconds: number): Results {
  return {
    ...{ cpu_util_total: 0, cpu_util_user: 0, cpu_util_system: 0, sender_has_retransmits: 0 },
    streams: streams.map(({ bytes }, i) => ({
      ...{ id: streamId(i), bytes, retransmits: -1, jitter: 0, errors: 0, packets: 0 },
      ...{ start_time: 0, end_time: seconds },
    })),
  };
}

/** As both ends told each other: the last bytes may have been on their way when they did. */
function report(streams: readonly Stream[], sending: boolean, ours: Results, theirs: Results): Iperf3Report {
  const counters = stack.core.counters();
  const sum = (list: Results): number => list.streams.reduce((total, { bytes }) => total + bytes, 0);
  return {
    error: '',
    sent: sum(sending ? ours : theirs),
    received: sum(sending ? theirs : ours),
    wrong: streams.reduce((total, { wrong }) => total + wrong, 0),
    retransmitted: Number(counters.TcpRetransSegs),
    probes: Number(counters.TcpExtTCPLossProbes),
    timeouts: Number(counters.TcpExtTCPTimeouts),
  };
}

async function serve(server: Server): Promise<Iperf3Report> {
  const waiting: Connection[] = [];
  let arrived: (() => void) | null = null;
  server.on('connection', (socket) => {
    socket.on('error', () => undefined);
    waiting.push(new Connection(socket));
    arrived?.();
  });
  const next = async (): Promise<Connection> => {
    while (waiting.length === 0) {
      await new Promise<void>((resolve) => {
        arrived = resolve;
      });
    }
    return waiting.shift() as Connection;
  };

  const control = await next();
  const cookie = await control.read(COOKIE_BYTES);
  control.sendState(PARAM_EXCHANGE);
  const { len = BLOCK_BYTES, parallel = 1, reverse = false } = await control.json<Parameters>();
  control.sendState(CREATE_STREAMS);
  const streams: Stream[] = [];
  while (streams.length < parallel) {
    const connection = await next();
    if (!cookie.equals(await connection.read(COOKIE_BYTES))) throw new Error('a connection with a foreign cookie');
    streams.push(new Stream(connection, len));
  }
  control.sendState(TEST_START);
  control.sendState(TEST_RUNNING);
  const started = performance.now();
  let ended = false;
  for (const stream of streams) {
    if (reverse) void stream.send(() => ended);
    else stream.receive(() => undefined);
  }
  await control.expect(TEST_END);
  ended = true;
  control.sendState(EXCHANGE_RESULTS);
  const theirs = await control.json<Results>();
  const ours = results(streams, (performance.now() - started) / 1000);
  control.sendJson(ours);
  control.sendState(DISPLAY_RESULTS);
  await control.expect(IPERF_DONE);
  for (const { connection } of streams) connection.socket.destroy();
  control.socket.end();
  return report(streams, reverse, ours, theirs);
}

async function connection(host: string, port: number): Promise<Connection> {
  const socket = net.connect({ host, port }) as unknown as Socket;
  await once(socket, 'connect');
  socket.on('error', () => undefined);
  return new Connection(socket);
}

async function run(request: Extract<Iperf3Request, { ask: 'run' }>): Promise<Iperf3Report> {
  const { host, port, bytes, parallel, reverse } = request;
  const cookie = Buffer.from(`${randomBytes(18).toString('hex')}\0`);
  const control = await connection(host, port);
  control.socket.write(cookie);
  await control.expect(PARAM_EXCHANGE);
  control.sendJson({
    tcp: true,
    omit: 0,
    time: 0,
    num: bytes,
    parallel,
    len: BLOCK_BYTES,
    ...(reverse ? { reverse } : {}),
  });
  await control.expect(CREATE_STREAMS);
  const streams: Stream[] = [];
  for (let i = 0; i < parallel; i++) {
    const data = await connection(host, port);
    data.socket.write(cookie);
    streams.push(new Stream(data, BLOCK_BYTES));
  }
  await control.expect(TEST_START);
  await control.expect(TEST_RUNNING);
  const started = performance.now();
  let left = bytes;
  if (reverse) {
    await new Promise<void>((resolve) => {
      for (const stream of streams) {
        stream.receive((length) => {
          left -= length;
          if (left <= 0) resolve();
        });
      }
    });
  } else {
    const done = (next: number): boolean => {
      if (left <= 0) return true;
      left -= next;
      return false;
    };
    await Promise.all(streams.map((stream) => stream.send(done)));
  }
  control.sendState(TEST_END);
  await control.expect(EXCHANGE_RESULTS);
  const ours = results(streams, (performance.now() - started) / 1000);
  control.sendJson(ours);
  const theirs = await control.json<Results>();
  await control.expect(DISPLAY_RESULTS);
  control.sendState(IPERF_DONE);
  for (const one of streams) one.connection.socket.destroy();
  control.socket.end();
  return report(streams, !reverse, ours, theirs);
}

const failed = (error: unknown): Iperf3Report => {
  return { error: String(error), sent: 0, received: 0, wrong: 0, retransmitted: 0, probes: 0, timeouts: 0 };
};

process.on('message', (request: Iperf3Request) => {
  if (request.ask === 'run') {
    run(request).then(
      (done) => process.send?.(done),
      (error) => process.send?.(failed(error)),
    );
    return;
  }
  const server = net.createServer() as unknown as Server;
  server.listen(request.port, request.host, () => process.send?.('listening'));
  serve(server)
    .catch(failed)
    .then((done) => server.close(() => process.send?.(done)));
});
process.on('disconnect', () => void stack.close().then(() => process.exit(0)));
process.send?.('ready');
