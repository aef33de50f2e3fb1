// The three entry points of a loop turn, and init().

import { arenaReset } from './abi/arena';
import { CNT_RxBytes, CNT_RxFrames, CNT_ZbufMisuse } from './abi/counters';
import {
  CFG_DELACK_US,
  CFG_MAX_CONNECTIONS,
  CFG_MAX_LISTENERS,
  CFG_PORT_HI,
  CFG_PORT_LO,
  CFG_SEED_HI,
  CFG_SEED_LO,
  CFG_SEGMENT_RECORDS,
  CTL_RX_AT,
  CTL_RX_SIZE,
  EALREADY,
  EINVAL,
  RXD_ADDR,
  RXD_FLAGS,
  RXD_LEN,
  RXD_SIZE,
} from './abi/layout';
import { randSeed } from './abi/random';
import { ringsInit, ringsNeeded } from './abi/rings';
import { count, countAdd, countersInit, nowUs, turnBegin, turnEnd } from './abi/runtime';
import { frameInput, inputInit } from './ip/input';
import { interfaceInit } from './ip/interface';
import { neighboursInit, neighboursNeeded } from './ip/neighbour';
import { outputInit } from './ip/output';
import { pendingInit, pendingNeeded } from './ip/pending';
import { reassemblyInit, reassemblyNeeded } from './ip/reassembly';
import { repeatInput } from './ip/repeat';
import { routesInit, routesNeeded } from './ip/route';
import { AHEAD, lookAhead } from './tcp/ahead';
import { flushEvents } from './tcp/events';
import { groBurstEnd, groDeadline, groTurn } from './tcp/gro';
import { tcpFlush } from './tcp/output';
import { parkIdle } from './tcp/park';
import { tcpArenaNeeded, tcpInit } from './tcp/tcb';
import { noticeAbsence, timersInit, timersNext, timersRun } from './timer/wheel';
import { udpFlush } from './udp/events';
import { udpArenaNeeded, udpInit, udpParametersFine } from './udp/init';
import { rxPoolsInit } from './zbuf/rxpool';
import { completions } from './zbuf/completed';
import { rxDone, rxTake } from './zbuf/rx';
import { zbufInit } from './zbuf/zbuf';
import { zonesNeeded } from './zbuf/zone';

let initialised = false;

/** Bytes of arena that init() takes with the configuration as it stands, receive pools not counted. */
export function arenaNeeded(): u32 {
  return (
    ringsNeeded() +
    zonesNeeded() +
    routesNeeded() +
    neighboursNeeded() +
    pendingNeeded() +
    reassemblyNeeded() +
    tcpArenaNeeded() +
    udpArenaNeeded() +
    1024
  );
}

@inline const CONNECTIONS_MAX: u32 = 1 << 20;
@inline const LISTENERS_MAX: u32 = 1 << 16;
@inline const RECORDS_MAX: u32 = 1 << 24;

/** RFC 9293 §3.8.6.3: an ACK is delayed less than this. */
@inline const DELACK_LIMIT_US: u32 = 500_000;

/** What TCP's tables are sized by, within what their byte counts can hold, and bounds that TCP itself sets. */
function parametersFine(): bool {
  const connections = load<u32>(CFG_MAX_CONNECTIONS);
  const listeners = load<u32>(CFG_MAX_LISTENERS);
  const records = load<u32>(CFG_SEGMENT_RECORDS);
  return (
    connections - 1 < CONNECTIONS_MAX &&
    listeners - 1 < LISTENERS_MAX &&
    records - 1 < RECORDS_MAX &&
    load<u32>(CFG_PORT_LO) <= load<u32>(CFG_PORT_HI) &&
    load<u32>(CFG_PORT_LO) != 0 &&
    load<u32>(CFG_PORT_HI) < 65536 &&
    load<u32>(CFG_DELACK_US) < DELACK_LIMIT_US
  );
}

/** Builds every table from the configuration. -EINVAL for one that cannot be, -ENOMEM when the arena is too small. */
export function init(): i32 {
  if (initialised) return -EALREADY;
  countersInit();
  let error = parametersFine() && udpParametersFine() ? arenaReset() : -EINVAL;
  randSeed(load<u32>(CFG_SEED_LO), load<u32>(CFG_SEED_HI));
  timersInit();
  if (error == 0) error = ringsInit();
  if (error == 0) error = zbufInit();
  if (error == 0) error = interfaceInit();
  if (error == 0) error = routesInit();
  if (error == 0) error = neighboursInit();
  if (error == 0) error = pendingInit();
  if (error == 0) error = reassemblyInit();
  if (error != 0) return error;
  rxPoolsInit();
  outputInit();
  inputInit();
  error = tcpInit();
  if (error == 0) error = udpInit();
  if (error != 0) return error;
  initialised = true;
  return 0;
}

/** Every call that brings the time begins so. */
@inline
function begin(now: f64): void {
  const before = nowUs;
  turnBegin(now);
  noticeAbsence(nowUs - before);
}

/** Tells the application what has happened. */
function flushAll(): void {
  flushEvents();
  udpFlush();
}

/** Processes the first `n` receive descriptors. */
export function ingest(n: u32, now: f64): void {
  if (!initialised) return;
  begin(now);
  completions();
  const size = load<u32>(CTL_RX_SIZE);
  if (n > size) n = size;
  let at = load<u32>(CTL_RX_AT);
  const end = at + n * RXD_SIZE;
  let frames: u32 = 0;
  let bytes: u64 = 0;
  let ahead = at;
  for (; at < end; at += RXD_SIZE) {
    const addr = load<u32>(at, RXD_ADDR);
    const len = load<u32>(at, RXD_LEN);
    // A descriptor that is not for a receive object which the link had is not touched.
    if (!rxTake(addr, len)) {
      count(CNT_ZbufMisuse);
      continue;
    }
    frames++;
    bytes += len;
    const flags = load<u32>(at, RXD_FLAGS);
    if (!repeatInput(addr, len, flags)) {
      if (at >= ahead && end - at > RXD_SIZE) {
        ahead = min(end, at + AHEAD * RXD_SIZE);
        lookAhead(at, ahead);
      }
      frameInput(addr, len, flags);
    }
    rxDone();
  }
  groBurstEnd();
  countAdd(CNT_RxFrames, frames);
  countAdd(CNT_RxBytes, bytes);
  flushAll();
  parkIdle();
  turnEnd();
}

/** Runs the timers that are due and sends what waits; microseconds of the next deadline, Infinity when there is none. */
export function poll(now: f64): f64 {
  if (!initialised) return Infinity;
  begin(now);
  completions();
  timersRun();
  groTurn();
  tcpFlush();
  flushAll();
  parkIdle();
  turnEnd();
  return groDeadline(timersNext());
}

/**
 * Before calls from outside a turn: brings the time, and sends what was queued since the last one. Calls nobody back: who
 * is about to call may not be ready for that.
 */
export function enter(now: f64): void {
  if (!initialised) return;
  begin(now);
  completions();
  tcpFlush();
  turnEnd();
}

/** Sends what waits for room in the transmit ring, or was queued since the last turn. */
export function flush(now: f64): void {
  if (!initialised) return;
  begin(now);
  completions();
  groTurn();
  tcpFlush();
  flushAll();
  turnEnd();
}
