// Acknowledgments that are not what they say: storms, loops, and a receiver that lies (RFC 5681 §7, RFC 3465, RFC 2883).

import { writeAddress } from '../../core/address.js';
import * as L from '../../core/layout.js';
import { answersTo, type OpenEnemy, openEnemy, watch } from '../enemy.js';
import { ACK, CLIENT_IP, CLIENT_MAC, PSH, readAnswer, SERVER_IP, SERVER_MAC, segment, variant } from '../frames.js';
import type { Attack } from '../run.js';
import { BARE, ECHO, LAZY, SOURCE, type World } from '../world.js';
import { flood } from './flood.js';

const MSS = 1460;

/** The handle of the only connection that the server has at this port. */
export function servedAt(world: World, port: number): number {
  for (const [handle, at] of world.served) if (at === port) return handle;
  throw new Error(`no connection at port ${port}`);
}

/** A connection to the sending application. */
export function openSource(world: World, options: Partial<Parameters<typeof openEnemy>[1]> = {}): OpenEnemy {
  const enemy = openEnemy(world, { port: SOURCE, srcPort: 5000, ...options });
  if (!enemy) throw new Error('the server does not answer');
  return enemy;
}

/** Old, duplicate and future ACKs at the legitimate connection, by someone who knows its numbers. */
function storm(world: World, full: boolean): void {
  const seen = watch(world, world.legitimate.handle);
  world.pass(4000);
  const template = segment({ src: CLIENT_IP, srcPort: seen.clientPort, dstPort: ECHO, flags: ACK });
  let toClient = 0;
  const before = world.onPath;
  const rpcs = world.legitimate.rpcs;
  world.onPath = (frame, toServer) => {
    if (!toServer) toClient++;
    return before ? before(frame, toServer) : frame;
  };
  flood(world, full ? 2_000_000 : 60_000, (i) => {
    const ahead = [-1_000_000, 0, 1_000_000][i % 3];
    return variant(template, { seq: seen.clientSeq, ack: (seen.serverSeq + ahead) >>> 0 });
  });
  // Answers to RPCs, openings and closings are at most so many; what is beyond them went to the storm.
  const useful = 8 * (world.legitimate.rpcs - rpcs) + 1000;
  world.expect(toClient <= useful, `${toClient} frames to the client, of which ${useful} at most were of use`);
}

/**
 * Both ends of a connection are made to believe that the other has sent something: each ACK of one is wrong for the
 * other. The answers to answers must die out.
 */
function loop(world: World): void {
  const { core } = world.client;
  writeAddress(core.u8, core.scratch, SERVER_IP.join('.'));
  const handle = core.connect(core.scratch, LAZY, 0, 0, 0);
  const seen = watch(world, handle);
  const addr = core.alloc(10);
  world.pass(5000);
  core.send(handle, addr, 10);
  world.pass(100_000);
  const { clientPort, clientSeq, serverSeq } = seen;
  const forged = { flags: ACK | PSH, length: 100 };
  const asClient = { src: CLIENT_IP, srcPort: clientPort, dstPort: LAZY, seq: clientSeq, ack: serverSeq };
  const asServer = { src: SERVER_IP, dst: CLIENT_IP, srcPort: LAZY, dstPort: clientPort };
  world.hostile(segment({ ...asClient, ...forged }));
  const toClient = segment({ ...asServer, seq: serverSeq, ack: clientSeq, ...forged });
  toClient.set(CLIENT_MAC, 0);
  toClient.set(SERVER_MAC, 6);
  world.client.inject(toClient);
  world.pass(100_000);
  seen.frames = 0;
  core.send(handle, addr, 10);
  core.free(addr);
  world.pass(10_000_000);
  // Retransmissions go on until the client gives up; each may draw an answer and the answer one more.
  world.expect(seen.frames > 0, 'the two ends are silent: they were to disagree');
  world.expect(seen.frames < 100, `${seen.frames} frames in ten seconds between ends that disagree`);
  core.abort(handle);
}

/** Acknowledges what has not arrived, and what has not been sent. */
function optimistic(world: World, full: boolean): void {
  const enemy = openSource(world);
  const handle = servedAt(world, SOURCE);
  let highest = enemy.ack;
  world.onAnswer = (frame) => {
    const answer = readAnswer(frame);
    if (answer?.dstPort !== enemy.srcPort) return;
    const end = (answer.seq + answer.length) >>> 0;
    if (((end - highest) | 0) > 0) highest = end;
  };
  const { sndBufBytes } = world.server.core.config;
  flood(world, full ? 500_000 : 30_000, (i) => {
    // Every fourth is beyond anything sent: it may not move the window.
    const ack = i % 4 === 3 ? (highest + sndBufBytes * 2) >>> 0 : highest;
    return enemy.frame({ ack });
  });
  world.expect(world.count(L.CNT_TcpExtTCPChallengeACK) > 0, 'ACKs of what was not sent were not challenged');
  const unacked = (highest - enemy.ack) >>> 0;
  world.expect(unacked < 2 ** 31, 'the connection went backwards');
  world.expect(world.info(handle, L.INFO_state) === L.TCP_ESTABLISHED, 'the connection is gone');
}

/** Acknowledges a byte at a time: the window must grow by bytes, not by ACKs (RFC 3465). */
function division(world: World): void {
  const enemy = openSource(world);
  const handle = servedAt(world, SOURCE);
  const before = world.info(handle, L.INFO_snd_cwnd);
  const bytes = 5000;
  flood(world, bytes, (i) => enemy.frame({ ack: (enemy.ack + i + 1) >>> 0 }));
  const grown = world.info(handle, L.INFO_snd_cwnd) - before;
  world.expect(grown <= bytes, `${bytes} ACKs of a byte each have opened the window by ${grown} bytes`);
}

/** Duplicate ACKs without a loss, without SACK: each stands for a segment that has left, as far as there are any. */
function duplicates(world: World, full: boolean): void {
  const enemy = openSource(world, { window: 65535, options: [{ kind: 'wscale', value: 14 }] });
  const handle = servedAt(world, SOURCE);
  let sent = 0;
  world.onAnswer = (frame) => {
    sent += readAnswer(frame)?.length ?? 0;
  };
  const count = full ? 500_000 : 20_000;
  flood(world, count, () => enemy.frame());
  const { sndBufBytes } = world.server.core.config;
  world.expect(sent <= 2 * sndBufBytes, `${sent} bytes sent for ${count} duplicate ACKs`);
  world.expect(world.info(handle, L.INFO_snd_cwnd) <= 20 * MSS, 'duplicate ACKs have opened the window');
}

/** DSACKs of segments that were sent once, and of some that never were. */
function dsacks(world: World, full: boolean): void {
  const enemy = openSource(world, { options: [{ kind: 'mss', value: MSS }, { kind: 'sackOK' }] });
  const handle = servedAt(world, SOURCE);
  const before = world.info(handle, L.INFO_snd_cwnd);
  flood(world, full ? 500_000 : 20_000, (i) => {
    const from = (enemy.ack - 3000 + (i % 2 === 0 ? 0 : 200_000_000)) >>> 0;
    const block = [from, (from + MSS) >>> 0] as const;
    return enemy.frame({ options: [{ kind: 'nop' }, { kind: 'nop' }, { kind: 'sack', blocks: [block] }] });
  });
  world.expect(world.info(handle, L.INFO_snd_cwnd) <= before, 'forged DSACKs have opened the window');
  world.expect(world.info(handle, L.INFO_state) === L.TCP_ESTABLISHED, 'the connection is gone');
  const [answer] = answersTo(world, () => world.hostile(enemy.frame({ ack: (enemy.ack + MSS) >>> 0 })));
  world.expect(answer !== undefined, 'nothing is sent for an ACK any more');
}

export const acks: readonly Attack[] = [
  {
    name: 'ack-storm',
    config: BARE,
    about: 'old, duplicate and future ACKs at an open connection, its numbers known',
    counters: [L.CNT_TcpExtTCPChallengeACK, L.CNT_TcpExtTCPPureAcks],
    run: storm,
  },
  {
    name: 'ack-loop',
    config: BARE,
    about: 'two ends that each take the other’s ACKs for wrong',
    stepUs: 1000,
    counters: [L.CNT_TcpExtTCPChallengeACK, L.CNT_TcpExtOutOfWindow],
    run: loop,
  },
  {
    name: 'optimistic-ack',
    about: 'ACKs of what has not arrived, and of what was never sent',
    counters: [L.CNT_TcpExtTCPChallengeACK],
    run: optimistic,
  },
  {
    name: 'ack-division',
    about: 'a byte acknowledged at a time, to open the window',
    counters: [L.CNT_TcpExtTCPPureAcks],
    run: division,
  },
  {
    name: 'duplicate-acks',
    about: 'duplicate ACKs of nothing lost, to have more sent',
    counters: [L.CNT_TcpExtTCPRenoRecovery, L.CNT_TcpRetransSegs],
    run: duplicates,
  },
  {
    name: 'dsack-spoofing',
    about: 'DSACKs of what was sent once, or never',
    counters: [L.CNT_TcpExtTCPDSACKRecv, L.CNT_TcpExtTCPSACKDiscard, L.CNT_TcpExtTCPDSACKUndo],
    run: dsacks,
  },
];
