// Off the path, knowing addresses and ports but no sequence number (RFC 5961).
import * as L from '../../core/layout.js';
import { answersTo, type Enemy, openEnemy, watch } from '../enemy.js';
import { ACK, CLIENT_IP, PSH, RST, SYN, segment, variant } from '../frames.js';
import type { Attack } from '../run.js';
import { BARE, ECHO, LAZY, STEP_US, type World } from '../world.js';

const COUNTERS = [
  L.CNT_TcpExtTCPChallengeACK,
  L.CNT_TcpExtTCPSYNChallenge,
  L.CNT_TcpExtOutOfWindow,
  L.CNT_TcpEstabResets,
];
const A_TURN = 64;

/** Goes through all sequence numbers in steps smaller than the window. */
function sweep(world: World, full: boolean, flags: number, length: number): void {
  const { clientPort } = watch(world, world.legitimate.handle);
  const step = full ? 2048 : 32768;
  const shape = { src: world.ip.client, srcPort: clientPort, dstPort: ECHO, flags, length };
  const template = segment(length > 0 ? { ...shape, fill: 0xee } : shape);
  const start = world.r.u32();
  let batch: Uint8Array[] = [];
  for (let at = 0; at < 2 ** 32; at += step) {
    const ack = flags & ACK ? { ack: world.r.u32() } : {};
    batch.push(variant(template, { seq: (start + at) >>> 0, ...ack }));
    if (batch.length < A_TURN) continue;
    world.hostile(...batch);
    world.turn();
    batch = [];
  }
  const seconds = Math.ceil((world.frames / A_TURN / 1e6) * STEP_US);
  const challenges = world.count(L.CNT_TcpExtTCPChallengeACK);
  world.expect(challenges <= 10 * (seconds + 1), `${challenges} challenge ACKs in ${seconds} s on one connection`);
  world.expect(world.count(L.CNT_TcpEstabResets) === 0, 'a connection was reset');
}

const SECOND_US = 1_000_000;
const OWN = 200;
/** A connection is challenged ten times a second at most (ack.ts). */
const ROUNDS = 9;

/**
 * CVE-2016-5696: uses up the limit on connections of his own and counts; what is missing was drawn by a forged segment
 * on the victim. Guesses which seconds had one, by whether more or fewer answers came than usual.
 */
function countChallenges(world: World, full: boolean): void {
  const { clientPort } = watch(world, world.legitimate.handle);
  const own: Enemy[] = [];
  for (let i = 0; i < OWN; i++) {
    const enemy = openEnemy(world, { port: LAZY, srcPort: 1000 + i });
    if (enemy) own.push(enemy);
    world.turn();
  }
  world.expect(own.length === OWN, `${own.length} connections of the attacker's`);
  const probe = segment({ src: CLIENT_IP, srcPort: clientPort, dstPort: ECHO, flags: SYN });
  const seen: { forged: boolean; answers: number }[] = [];
  let most = 0;
  for (let second = 0; second < (full ? 1000 : 60); second++) {
    const forged = world.r.oneIn(2);
    const begin = world.nowUs;
    const before = world.count(L.CNT_TcpExtTCPChallengeACK);
    let answers = 0;
    for (let round = 0; round < ROUNDS; round++) {
      if (forged) world.hostile(probe);
      answers += answersTo(world, () => world.hostile(...own.map((enemy) => enemy.frame({ flags: SYN })))).length;
      world.pass(SECOND_US / 9.5);
    }
    seen.push({ forged, answers });
    most = Math.max(most, world.count(L.CNT_TcpExtTCPChallengeACK) - before);
    world.pass(Math.max(begin + SECOND_US + 5000 - world.nowUs, 0));
  }
  const sorted = seen.map(({ answers }) => answers).sort((a, b) => a - b);
  const median = sorted[sorted.length >> 1];
  const right = seen.filter(({ forged, answers }) => forged === answers < median).length / seen.length;
  world.expect(right > 0.25 && right < 0.75, `${(100 * right).toFixed(0)} % of the seconds are guessed rightly`);
  world.expect(most <= 1500, `${most} challenge ACKs in a second`);
  world.expect(most > 200, `${most} challenge ACKs in a second: the limit was not reached`);
}

/** The three blind attacks on one connection, for either family of addresses. */
export function sweeps(prefix: string): Attack[] {
  const shared = { config: BARE, counters: COUNTERS };
  return [
    {
      ...shared,
      name: `${prefix}blind-rst`,
      about: 'RSTs across all sequence numbers at an open connection, from off the path',
      run: (world, full) => sweep(world, full, RST, 0),
    },
    {
      ...shared,
      name: `${prefix}blind-syn`,
      about: 'SYNs across all sequence numbers at an open connection',
      run: (world, full) => sweep(world, full, SYN, 0),
    },
    {
      ...shared,
      name: `${prefix}blind-data`,
      about: 'forged data across all sequence numbers with random acknowledgment numbers',
      run: (world, full) => sweep(world, full, ACK | PSH, 16),
    },
  ];
}

export const blind: readonly Attack[] = [
  ...sweeps(''),
  {
    name: 'challenge-count',
    about: 'counting challenge ACKs on connections of one’s own to learn of others (CVE-2016-5696)',
    config: BARE,
    stepUs: 5000,
    counters: [L.CNT_TcpExtTCPChallengeACK, L.CNT_TcpExtTCPACKSkippedChallenge],
    run: countChallenges,
  },
];
