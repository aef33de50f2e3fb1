// Packets of a script, in tcpdump's manner: `> S. 0:0(0) ack 1 win 65535 <mss 1460,nop,nop,sackOK>`.
import { type Ecn, type IcmpPacket, type PacketEvent, type TcpOption, type TcpPacket, Unsupported } from './ast.js';
import { type Cursor, expect, fail, lineAt, peek, take, takeMatch } from './cursor.js';

export function parsePacket(c: Cursor): PacketEvent {
  const direction = take(c, '<') ? 'in' : 'out';
  if (direction === 'out') expect(c, '>');
  const line = lineAt(c);
  const quoted = takeQuoted(c);
  const marks = parseMarks(c);
  const quotedSeq = quoted ?? takeQuoted(c);
  const unknown = takeMatch(c, /(?:udp\b|ipv4\b|ipv6\b|gre\b|mpls\b|sctp\b|fragment\b)/y);
  if (unknown !== null) throw new Unsupported(line, `${unknown[0]} packets`);
  const packet = takeMatch(c, /icmp(?:v6|6)?\b/y) === null ? parseTcp(c) : parseIcmp(c, quotedSeq);
  if (packet.kind === 'icmp' && direction === 'out') throw new Unsupported(line, 'expecting ICMP packets');
  return { kind: 'packet', direction, ...marks, packet };
}

/** What an ICMP error quotes, before or after it: `[1:1001(1000)]`. */
function takeQuoted(c: Cursor): number | null {
  const quoted = takeMatch(c, /\[\s*(?:tcp\s+|[FSRPUEW.]+\s+)?(\d+):(\d+)\((\d+)\)[^\]\n]*\]/y);
  if (quoted !== null) return Number(quoted[1]);
  if (takeMatch(c, /\[\s*udp\b/y) !== null) throw new Unsupported(lineAt(c), 'UDP packets');
  return null;
}

/** `[ect0]`, `[ce, ttl 64]`, `(tos 0x10)` before the flags. */
function parseMarks(c: Cursor): Pick<PacketEvent, 'ecn' | 'tos' | 'ttl' | 'flowLabel'> {
  let flowLabel: number | null = null;
  let ecn: Ecn | null = null;
  let tos: number | null = null;
  let ttl: number | null = null;
  while (peek(c, '[') || peek(c, '(')) {
    const close = take(c, '[') ? ']' : ')';
    if (close === ')') expect(c, '(');
    do {
      const mark = takeMatch(c, /(noecn|ect01|ect0|ect1|ce)\b/y);
      const field = mark === null ? takeMatch(c, /(tos|ttl|hoplim|flowlabel)\s+(0x[\da-fA-F]+|\d+)/y) : null;
      if (mark !== null) ecn = mark[1] as Ecn;
      else if (field === null) fail(c, 'an ECN mark, tos or ttl');
      else if (field[1] === 'tos') tos = Number(field[2]);
      else if (field[1] === 'ttl' || field[1] === 'hoplim') ttl = Number(field[2]);
      else flowLabel = Number(field[2]);
    } while (take(c, ','));
    expect(c, close);
  }
  return { ecn, tos, ttl, flowLabel };
}

const SEQUENCE = /(?:seq\s+)?(\d+)(?:\s*:\s*(\d+))?(?:\s*\(\s*(\d+)\s*\))?/y;

function parseTcp(c: Cursor): TcpPacket {
  const flags = takeMatch(c, /(?:[FSRPUEWA.]+|-)(?=\s)/y);
  if (flags === null) fail(c, 'TCP flags');
  if (flags[0].includes('A')) throw new Unsupported(lineAt(c), 'accurate ECN');
  const sequence = takeMatch(c, SEQUENCE);
  if (sequence === null) fail(c, 'a sequence range');
  const seq = Number(sequence[1]);
  const length = sequence[3] === undefined ? Number(sequence[2] ?? seq) - seq : Number(sequence[3]);
  if (sequence[2] !== undefined && (Number(sequence[2]) - seq) >>> 0 !== length) {
    throw new Unsupported(lineAt(c), `not understood: ${sequence[0]} is not ${length} bytes long`);
  }
  const ack = takeMatch(c, /ack\s+(\d+)/y);
  const window = takeMatch(c, /win\s+(0x[\da-fA-F]+|\d+)/y);
  const urgent = takeMatch(c, /urg\s+(0x[\da-fA-F]+|\d+)/y);
  const options = take(c, '<') ? parseOptions(c) : [];
  return {
    kind: 'tcp',
    flags: flags[0] === '-' ? '' : flags[0],
    seq,
    length,
    ack: ack === null ? null : Number(ack[1]),
    window: window === null ? null : Number(window[1]),
    urgent: urgent === null ? null : Number(urgent[1]),
    options,
  };
}

/** After `<`: a list, or null for `<...>`. */
function parseOptions(c: Cursor): TcpOption[] | null {
  if (take(c, '...')) {
    expect(c, '>');
    return null;
  }
  const options: TcpOption[] = [];
  if (take(c, '>')) return options;
  do options.push(parseOption(c));
  while (take(c, ','));
  expect(c, '>');
  return options;
}

function parseOption(c: Cursor): TcpOption {
  const name = takeMatch(c, /[A-Za-z][\w-]*/y);
  switch (name?.[0]) {
    case 'nop':
    case 'eol':
    case 'sackOK':
      return { kind: name[0] as 'nop' | 'eol' | 'sackOK' };
    case 'mss':
    case 'wscale':
      return { kind: name[0] as 'mss' | 'wscale', value: Number(takeMatch(c, /\d+/y)?.[0] ?? fail(c, 'a number')) };
    case 'sack': {
      const blocks: [number, number][] = [];
      for (let block = takeMatch(c, SACK_BLOCK); block !== null; block = takeMatch(c, SACK_BLOCK)) {
        blocks.push([Number(block[1]), Number(block[2])]);
      }
      return { kind: 'sack', blocks };
    }
    case 'TS': {
      const value = takeMatch(c, /val\s+(\d+|\.\.\.)\s+ecr\s+(\d+|\.\.\.)/y) ?? fail(c, 'val … ecr …');
      const number = (text: string): number | null => (text === '...' ? null : Number(text));
      return { kind: 'TS', val: number(value[1]), ecr: number(value[2]) };
    }
    case 'md5': {
      const digest = takeMatch(c, /[\da-fA-F]{32}\b/y) ?? takeMatch(c, /(?:valid|invalid)\b/y);
      if (digest === null) fail(c, 'an MD5 digest');
      if (digest[0].length !== 32) throw new Unsupported(lineAt(c), 'computing MD5 digests');
      return { kind: 'md5', digest: digest[0] };
    }
    case 'FO':
    case 'FOEXP': {
      const cookie = takeMatch(c, /(?:TFO_COOKIE(?:_ZERO)?|(?:[\da-fA-F]{2})+)\b/y)?.[0] ?? '';
      return { kind: 'FO', cookie, experiment: name[0] === 'FOEXP' };
    }
  }
  throw new Unsupported(lineAt(c), `the TCP option ${name?.[0] ?? c.text.slice(c.at, c.at + 8)}`);
}

const SACK_BLOCK = /(\d+):(\d+)/y;

function parseIcmp(c: Cursor, quotedBefore: number | null): IcmpPacket {
  const type = takeMatch(c, /[a-z_]+/y)?.[0] ?? fail(c, 'an ICMP type');
  const mtuFirst = takeMatch(c, /mtu\s+(\d+)/y);
  const code = takeMatch(c, /[a-z_]+(?!\s+\d)/y)?.[0] ?? null;
  const mtu = mtuFirst ?? takeMatch(c, /mtu\s+(\d+)/y);
  return {
    kind: 'icmp',
    type,
    code,
    mtu: mtu === null ? 0 : Number(mtu[1]),
    quotedSeq: quotedBefore ?? takeQuoted(c),
  };
}
