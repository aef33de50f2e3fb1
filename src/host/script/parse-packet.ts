// Packets of a script, in tcpdump's manner: `> S. 0:0(0) ack 1 win 65535 <mss 1460,nop,nop,sackOK>`.
import { type Ecn, type IcmpPacket, type PacketEvent, type TcpOption, type TcpPacket, Unsupported } from './ast.js';
import { type Cursor, expect, fail, lineAt, peek, take, takeMatch } from './cursor.js';

/** ICMPv4 types and the codes that have names (RFC 792, RFC 1122 §3.2.2.1, RFC 1812 §5.2.7). */
const icmpTypes: ReadonlyMap<string, number> = new Map([
  ['echo_reply', 0],
  ['unreachable', 3],
  ['source_quench', 4],
  ['redirect', 5],
  ['echo_request', 8],
  ['time_exceeded', 11],
  ['parameter_problem', 12],
]);

const icmpCodes: readonly (readonly string[])[] = [
  ['net_unreachable'],
  ['host_unreachable'],
  ['protocol_unreachable', 'proto_unreachable'],
  ['port_unreachable'],
  ['frag_needed'],
  ['source_route_failed'],
  ['net_unknown'],
  ['host_unknown'],
  ['source_host_isolated'],
  ['net_prohibited'],
  ['host_prohibited'],
  ['net_unreachable_for_tos'],
  ['host_unreachable_for_tos'],
  ['packet_filtered'],
  ['precedence_violation'],
  ['precedence_cutoff'],
];

export function parsePacket(c: Cursor): PacketEvent {
  const direction = take(c, '<') ? 'in' : 'out';
  if (direction === 'out') expect(c, '>');
  const marks = parseMarks(c);
  const unknown = takeMatch(c, /(?:udp\b|ipv4|ipv6|gre|mpls|sctp)/y);
  if (unknown !== null) throw new Unsupported(lineAt(c), `${unknown[0]} packets`);
  const packet = takeMatch(c, /icmp\b/y) === null ? parseTcp(c) : parseIcmp(c);
  if (packet.kind === 'icmp' && direction === 'out') throw new Unsupported(lineAt(c), 'expecting ICMP packets');
  return { kind: 'packet', direction, ...marks, packet };
}

/** `[ect0]`, `[ce, ttl 64]`, `(tos 0x10)` before the flags. */
function parseMarks(c: Cursor): { ecn: Ecn | null; tos: number | null; ttl: number | null } {
  let ecn: Ecn | null = null;
  let tos: number | null = null;
  let ttl: number | null = null;
  while (peek(c, '[') || peek(c, '(')) {
    const close = take(c, '[') ? ']' : ')';
    if (close === ')') expect(c, '(');
    do {
      const mark = takeMatch(c, /(noecn|ect01|ect0|ect1|ce)\b/y);
      const field = mark === null ? takeMatch(c, /(tos|ttl|flowlabel)\s+(0x[\da-fA-F]+|\d+)/y) : null;
      if (mark !== null) ecn = mark[1] as Ecn;
      else if (field === null) fail(c, 'an ECN mark, tos or ttl');
      else if (field[1] === 'tos') tos = Number(field[2]);
      else if (field[1] === 'ttl') ttl = Number(field[2]);
      else throw new Unsupported(lineAt(c), 'IPv6 flow labels');
    } while (take(c, ','));
    expect(c, close);
  }
  return { ecn, tos, ttl };
}

const SEQUENCE = /(?:seq\s+)?(\d+)(?::(\d+))?(?:\((\d+)\))?/y;

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
  const window = takeMatch(c, /win\s+(\d+)/y);
  const urgent = takeMatch(c, /urg\s+(\d+)/y);
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
    case 'FO':
      return { kind: 'FO', cookie: takeMatch(c, /[\da-fA-F]+/y)?.[0] ?? '' };
  }
  throw new Unsupported(lineAt(c), `the TCP option ${name?.[0] ?? c.text.slice(c.at, c.at + 8)}`);
}

const SACK_BLOCK = /(\d+):(\d+)/y;

function parseIcmp(c: Cursor): IcmpPacket {
  const type = takeMatch(c, /[a-z_]+/y)?.[0] ?? fail(c, 'an ICMP type');
  const typeNumber = icmpTypes.get(type);
  if (typeNumber === undefined) throw new Unsupported(lineAt(c), `the ICMP type ${type}`);
  const mtuFirst = takeMatch(c, /mtu\s+(\d+)/y);
  const code = takeMatch(c, /[a-z_]+(?!\s+\d)/y)?.[0];
  const codeNumber = code === undefined ? 0 : icmpCodes.findIndex((names) => names.includes(code));
  if (codeNumber < 0) throw new Unsupported(lineAt(c), `the ICMP code ${code}`);
  const mtu = mtuFirst ?? takeMatch(c, /mtu\s+(\d+)/y);
  const quoted = takeMatch(c, /\[\s*(?:tcp\s+)?(\d+):(\d+)\((\d+)\)\s*\]/y);
  return {
    kind: 'icmp',
    type: typeNumber,
    code: codeNumber,
    mtu: mtu === null ? 0 : Number(mtu[1]),
    quotedSeq: quoted === null ? null : Number(quoted[1]),
  };
}
