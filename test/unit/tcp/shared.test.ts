// What is shared by all connections and must not be one connection's: challenge ACKs, orphans, records.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as L from '../../../src/host/core/layout.js';
import { MSS, mss, Peer } from '../../helpers/peer.js';

interface Other {
  readonly from: number;
  readonly iss: number;
  readonly handle: number;
}

/** Opens a connection from this port; it is the peer's current one. */
function open(p: Peer, from: number, options = mss(MSS), win = 65535): Other {
  if (!p.listener) p.listen(0, 64);
  p.in('S', { seq: 0, from, options, win });
  p.heard();
  p.in('.', { from, win });
  p.handle = p.m.core.accept(p.listener);
  assert.ok(p.handle > 0, `accept: ${p.handle}`);
  return { from, iss: p.iss, handle: p.handle };
}

function abortAll(p: Peer, others: readonly Other[]): void {
  for (const { handle } of others) p.m.core.abort(handle);
  p.handle = 0;
  p.done();
}

function challenges(p: Peer, others: readonly Other[], seq: number): number {
  const before = p.count(L.CNT_TcpExtTCPChallengeACK);
  for (const { from } of others) p.in('S', { seq, from });
  p.heard();
  return p.count(L.CNT_TcpExtTCPChallengeACK) - before;
}

test('challenge ACKs of all connections are limited by a number that is drawn anew each second (RFC 5961 §7)', () => {
  const p = new Peer({ challengeAcksPerSecond: 20 });
  const others = Array.from({ length: 60 }, (_, i) => open(p, 1000 + i));
  const drawn = new Set<number>();
  for (let second = 0; second < 20; second++) {
    const sent = challenges(p, others, 100);
    assert.ok(sent >= 10 && sent < 30, `${sent} challenge ACKs`);
    assert.is(challenges(p, others, 100), 0, 'the second is over when its time is');
    drawn.add(sent);
    p.pass(1_000_001);
  }
  assert.ok(drawn.size > 5, `${drawn.size} different numbers in 20 seconds`);
  assert.ok(p.count(L.CNT_TcpExtTCPACKSkippedChallenge) > 0);
  abortAll(p, others);
});

test('a SYN outside the window is challenged like one inside, and counts for the limit (RFC 5961 §4)', () => {
  const p = new Peer({ challengeAcksPerSecond: 4 });
  const others = Array.from({ length: 20 }, (_, i) => open(p, 1000 + i));
  const sent = challenges(p, others, 500_000_000);
  assert.ok(sent >= 2 && sent < 6, `${sent} challenge ACKs`);
  abortAll(p, others);
});

test('with as many orphans as there may be the oldest is reset for the next', () => {
  const p = new Peer({ maxOrphans: 2 });
  const ports = [1000, 1001, 1002];
  for (const from of ports) {
    open(p, from, mss(MSS), 0);
    p.write(100);
    assert.is(p.m.core.close(p.handle), 0);
    p.handle = 0;
    p.m.core.flush(p.m.nowUs);
    const resets = p.heard().filter(({ flags }) => flags.includes('R'));
    assert.equal(
      resets.map(({ dstPort }) => dstPort),
      from === 1002 ? [1000] : [],
    );
  }
  assert.is(p.count(L.CNT_TcpExtTCPAbortOnMemory), 1);
  p.done();
});

test('an orphan in TIME-WAIT is none of them', () => {
  const p = new Peer({ maxOrphans: 1 });
  for (const from of [1000, 1001, 1002]) {
    open(p, from);
    p.m.core.close(p.handle);
    p.handle = 0;
    p.m.core.flush(p.m.nowUs);
    p.heard();
    p.in('F.', { from, ack: 2 });
    p.heard();
  }
  assert.is(p.count(L.CNT_TcpExtTCPAbortOnMemory), 0);
  p.done();
});

test('a peer that keeps the window of an orphan shut and answers every probe is given up all the same', () => {
  const p = new Peer({ orphanRetries: 4 });
  open(p, 1000, mss(MSS), 0);
  p.write(100);
  p.m.core.close(p.handle);
  p.handle = 0;
  let probes = 0;
  let resets = 0;
  for (let i = 0; i < 600 && resets === 0; i++) {
    p.pass(100_000);
    for (const { flags } of p.heard()) {
      if (flags.includes('R')) resets++;
      else {
        probes++;
        p.in('.', { from: 1000, win: 0 });
      }
    }
  }
  assert.is(resets, 1);
  assert.is(probes, 4);
  p.done();
});

test('a connection that has most of the transmitted segments leaves records for others', () => {
  const p = new Peer({ segmentRecords: 64, initCwndSegments: 100, sndBufBytes: 1 << 20 });
  const hog = open(p, 1000);
  assert.is(p.write(60_000), 60_000);
  assert.is(p.heard().length, 42, 'what its window allows');
  const second = open(p, 1001);
  p.write(60_000);
  const sent = p.heard().length;
  assert.is(sent, 16);
  const third = open(p, 1002);
  p.write(10);
  assert.equal(p.out(), ['P. 1:11 ack 1']);
  // Its own ACKs let it go on.
  p.iss = second.iss;
  p.in('.', { from: 1001, ack: 1 + 16 * MSS });
  assert.ok(p.heard().length > 0);
  abortAll(p, [hog, second, third]);
});

test.run();
