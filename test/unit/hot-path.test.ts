// What the fast paths consist of, read from the text of the release build: none of it allocates, grows or copies memory, and it
// calls out for the events of inline sockets alone. A function that begins to call another has to say here what that one is.
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

/** Where the host enters: a loop's turn, and an application's calls for each message. */
const ROOTS = [
  'ingest/ingest',
  'ingest/flush',
  'ingest/poll',
  'tcp/api/send',
  'tcp/api/sendv',
  'tcp/api/sendWith',
  'tcp/api/recv',
  'udp/api/udpSend',
  'udp/api/udpRecv',
  'zbuf/zbuf/apiAlloc',
  'zbuf/zbuf/apiAllocMessage',
  'zbuf/zbuf/apiDup',
  'zbuf/zbuf/apiFree',
  'zbuf/zbuf/apiObjectEnd',
];

/** What they call for segments in order and nothing lost, by folder; whatever else there is was inlined. */
const HOT = new Set([
  ...ROOTS,
  ...below('ip', 'input/ipv4Input input/deliver input6/ipv6Input input6/deliver route/dstGet'),
  ...below('ip/output', 'frameBegin frameSend framePublish ipOutput finish4 finish6 tcpChecksum udpFinish l4Sum'),
  ...below(
    'tcp',
    'ahead/lookAhead input/tcpInput flow/flowFind fastpath/fastPath ack/ackAdvance recvq/rcvqAdd gro/groEnd',
  ),
  ...below('tcp', 'txseg/txSegAcked txseg/inNetwork rto/rttSample rto/rtoNow tlp/lossTimerArm tso/autosize'),
  ...below('tcp/congestion', 'window/slowStart cubic/cubicAvoid dctcp/dctcpDelivered'),
  ...below('tcp/events', 'deliverInline deliverAll'),
  ...below('tcp/gso', 'gsoSend cutAppend cutEnd'),
  ...below('tcp/handle', 'fromHandle slotReap'),
  ...below('tcp/output', 'ackSend tcpOutput serveAll sendNew sendOne'),
  ...below('tcp', 'plain/plainAck plain/headersPlan run/runSend'),
  ...below('tcp/segment', 'segmentSend segmentHeader windowToOffer'),
  ...below('tcp', 'sendq/sendqAppend park/parkIdle'),
  ...below('timer', 'wheel/timerArm wheel/timersRun wheel/nextSlot dispatch/dispatch'),
  ...below('udp', 'api/prepare output/datagramSend input/udpInput input/deliver recvq/udpQueueTake'),
  ...below('udp/events', 'udpDeliverInline deliverAll'),
  ...below('udp/table', 'udpFind udpFlowFind'),
  ...below('wire/checksum', 'sum16 pseudo6'),
  ...below('zbuf', 'headroom/headerRelease completed/completed'),
  ...below('zbuf/zbuf', 'zbufAllocHeader zbufUnref zbufCheck liveContext zbufCompleted give zbufGiveHeaders'),
]);

/** What the hot functions call besides, and why that is not of the fast path. */
const COLD: Record<string, string> = {
  'ip/arp/arpInput': 'an ARP packet',
  'ip/extension/extensionsWalk': 'IPv6 extension headers',
  'ip/fragment/fragment4': 'a fragment',
  'ip/fragment/fragment6': 'a fragment',
  'ip/icmp/icmpError': 'a packet that is answered with an error',
  'ip/icmp/icmpInput': 'an ICMP message',
  'ip/icmp6/icmp6Error': 'a packet that is answered with an error',
  'ip/icmp6/icmp6Input': 'an ICMPv6 message',
  'ip/interface/sourceFor': 'a socket without an address sends to a new one',
  'ip/neighbour/ask': 'a neighbour whose MAC is not known or grows old',
  'ip/neighbour/fail': 'a neighbour that does not answer',
  'ip/neighbour/release': 'a neighbour nobody has used for long',
  'ip/pending/pendingDrop': 'a packet to a neighbour that does not answer',
  'ip/reassembly/abandon': 'a datagram whose fragments did not all come',
  'ip/route/fill': 'the first packet to an address since the routes changed',
  'tcp/close/destroy': 'a connection ends',
  'tcp/handshake/mssUpdate': 'the path MTU may be raised again, once in minutes',
  'tcp/handshake/synSend': 'a SYN that had no room',
  'tcp/input/arrives': 'a segment that was not predicted',
  'tcp/input/finish': 'a segment that was not predicted',
  'tcp/linux/linuxAckNow': 'the linux profile, which has no fast path',
  'tcp/linux/selectWindow': 'the linux profile, which has no fast path',
  'tcp/listen/listenerFor': 'a segment of no connection',
  'tcp/options/optParse': 'a segment that was not predicted',
  'tcp/options/writeSack': 'something is out of order',
  'tcp/park/park': 'an idle connection makes room for another',
  'tcp/park/unpack': 'a parked connection wakes',
  'tcp/park/unpark': 'a parked connection wakes',
  'tcp/passive/listenSegment': 'a segment to a listener',
  'tcp/persist/persistArm': 'the peer has closed its window',
  'tcp/plain/templateMake': 'the first segment of a connection that is not among the last ones to send',
  'tcp/rack/rackDelivered': 'an ACK after a retransmission or of segments out of order',
  'tcp/reset/resetAnswer': 'a segment of no connection',
  'tcp/retransmit/retransmitSegment': 'a segment was lost',
  'tcp/segment/segmentReset': 'an RST that had no room',
  'tcp/sockopt/windowUpdate': 'recv() opens a window that was nearly closed',
  'tcp/timers/tcpTimer': 'a timer has expired',
  'udp/api/bind': 'the first datagram of a socket without a port',
  'udp/output/sendFragments': 'a datagram larger than the path takes',
  'zbuf/zbuf/growClass': 'a zone is cut into objects, when a size class first needs it',
  'zbuf/zbuf/misuseAt': 'a misuse is counted',
};

/** Functions that may call out: events of inline sockets, at the segment that brings them. */
const CALL_OUT = ['tcp/events/deliverInline', 'tcp/fastpath/fastPath', 'udp/events/udpDeliverInline'];

/** Copies in hot functions: how many, and for what that is not of the fast path. */
const COPIES: Record<string, { times: number; why: string }> = {
  'tcp/recvq/rcvqAdd': { times: 1, why: 'small segments that a batch socket leaves unread are put together' },
};

function below(folder: string, names: string): string[] {
  return names.split(' ').map((name) => `${folder}/${name}`);
}

interface Code {
  readonly calls: ReadonlySet<string>;
  /** Instructions that are not arithmetic, control or plain loads and stores. */
  readonly special: readonly string[];
}

interface Module {
  readonly functions: ReadonlyMap<string, Code>;
  readonly imports: readonly string[];
}

function parse(wat: string): Module {
  const functions = new Map<string, Code>();
  const short = (name: string): string => name.replace(/^assembly\//, '');
  for (const [text, name] of wat.matchAll(/^ \(func \$([^\s()]+).*?(?=^ \(|^\))/gms)) {
    const calls = new Set([...text.matchAll(/\b(?:return_)?call \$([^\s()]+)/g)].map((match) => short(match[1])));
    const special = [...text.matchAll(/\b(?:memory\.\w+|call_indirect|call_ref)\b/g)].map((match) => match[0]);
    functions.set(short(name), { calls, special });
  }
  const imports = [...wat.matchAll(/^ \(import "\w+" "\w+" \(func \$([^\s()]+)/gm)].map((match) => short(match[1]));
  return { functions, imports };
}

const { functions, imports } = parse(readFileSync(new URL('../../../build/core.release.wat', import.meta.url), 'utf8'));
const hot = [...HOT].filter((name) => functions.has(name));
const callsOf = (name: string): string[] => [...functions.get(name)!.calls];

test('the lists name functions that there are, and that are reached', () => {
  assert.equal(
    [...HOT].filter((name) => !functions.has(name)),
    [],
    'hot functions that are gone or were inlined',
  );
  const reached = new Set(ROOTS);
  for (const name of reached) for (const callee of callsOf(name)) if (HOT.has(callee)) reached.add(callee);
  assert.equal(
    hot.filter((name) => !reached.has(name)),
    [],
    'hot functions that no hot function calls',
  );
  const called = new Set(hot.flatMap(callsOf));
  assert.equal(
    Object.keys(COLD).filter((name) => !called.has(name)),
    [],
    'cold functions that no hot function calls',
  );
});

test('a hot function calls hot functions, and cold ones that are known', () => {
  const unknown = hot.flatMap((name) =>
    callsOf(name)
      .filter((callee) => !HOT.has(callee) && !(callee in COLD) && !imports.includes(callee))
      .map((callee) => `${name} calls ${callee}`),
  );
  assert.equal(unknown, []);
});

test('the core calls out for events of inline sockets alone', () => {
  assert.equal(imports, ['host/hostEvent']);
  const callers = [...functions].filter(([, { calls }]) => calls.has('host/hostEvent')).map(([name]) => name);
  assert.equal(callers.sort(), CALL_OUT);
});

test('nothing in the core allocates, grows memory or calls through a table', () => {
  const allocating = [...functions].flatMap(([name, { calls, special }]) =>
    [
      ...[name, ...calls].filter((one) => one.startsWith('~lib/')),
      ...special.filter((one) => one === 'memory.grow' || one.startsWith('call_')),
    ].map((what) => `${name}: ${what}`),
  );
  assert.equal(allocating, []);
});

test('no hot function copies or fills memory', () => {
  for (const name of hot) {
    const copies = functions.get(name)!.special.filter((one) => one === 'memory.copy' || one === 'memory.fill');
    const { times, why } = COPIES[name] ?? { times: 0, why: 'nothing' };
    assert.is(copies.length, times, `${name}: ${copies.join(' ')}; allowed for: ${why}`);
  }
});

test('the reader finds what it looks for', () => {
  const { functions: found, imports: outside } = parse(
    [
      '(module',
      ' (import "host" "event" (func $assembly/host/hostEvent (param i32)))',
      ' (func $assembly/a/b (param $0 i32)',
      '  memory.copy',
      '  (call $assembly/a/c (i32.const 0))',
      ' )',
      ' (func $assembly/a/c',
      '  i32.const 1',
      '  memory.grow',
      '  return_call $~lib/rt/stub/__new',
      ' )',
      ')',
    ].join('\n'),
  );
  assert.equal(outside, ['host/hostEvent']);
  assert.equal([...found.keys()], ['a/b', 'a/c']);
  assert.equal([...found.get('a/b')!.calls], ['a/c']);
  assert.equal(found.get('a/b')!.special, ['memory.copy']);
  assert.equal([...found.get('a/c')!.calls], ['~lib/rt/stub/__new']);
  assert.equal(found.get('a/c')!.special, ['memory.grow']);
});

test.run();
