// Inner functions of the core, looped over inside WebAssembly: checksum, headers, flow table, timers.
import { tcpFrame } from '../test/helpers/frames.js';
import { begin, bench, type Case, quick } from './harness.js';
import { hotCore } from './hot.js';

const OPERATIONS = 1000;
const STRIDE = 2048;

function checksums(): Case[] {
  const { core } = hotCore();
  const [a, b] = [core.alloc(65536), core.alloc(65536)];
  const copy: Case = {
    name: 'memory.copy, 1460 B (a yardstick)',
    operations: OPERATIONS,
    bytes: 1460,
    run: () => core.hotCopy(OPERATIONS, a, b, 1460),
  };
  const sums = [20, 64, 1460, 8960].map(
    (bytes): Case => ({
      name: `checksum, ${bytes} B`,
      operations: OPERATIONS,
      bytes,
      run() {
        core.hotChecksum(OPERATIONS, a, bytes);
      },
    }),
  );
  return [copy, ...sums];
}

/** 32 segments of as many connections, as a burst brings them. */
function headers(): Case {
  const { core } = hotCore();
  const at = core.alloc(65536);
  let bytes = 0;
  for (let i = 0; i < 32; i++) {
    const payload = new Uint8Array(64);
    const frame = tcpFrame({ srcPort: 1024 + i, dstPort: 80, seq: i, ack: i, flags: 16, window: 1000, payload });
    core.u8.set(frame, at + i * STRIDE);
    bytes = frame.length;
  }
  if (core.hotHeaders(32, at, STRIDE, bytes) !== 32) throw new Error('the frames were not taken for TCP');
  return {
    name: 'Ethernet, IPv4 and TCP headers checked and read',
    operations: OPERATIONS,
    run() {
      core.hotHeaders(OPERATIONS, at, STRIDE, bytes);
    },
  };
}

/** Made when its turn comes and dropped after it: a table for a million connections has 800 MiB. */
function lookups(connections: number): Case {
  let core: ReturnType<typeof hotCore>['core'] | undefined;
  return {
    name: `flow lookup, ${connections.toLocaleString('en')} connections`,
    operations: OPERATIONS,
    run() {
      if (core === undefined) {
        core = hotCore({ maxConnections: Math.max(connections, 16), rxZones: 1, zones: 13 }).core;
        if (core.hotFlowFill(connections) !== connections) throw new Error('the flow table is too small');
      }
      if (core.hotFlowFind(OPERATIONS, connections) !== OPERATIONS) throw new Error('a connection was not found');
    },
  };
}

const TIMERS = 1000;

function timers(): Case[] {
  const { core, driven } = hotCore({ maxConnections: 2 * TIMERS });
  /** One timer in each tick of 128 µs. */
  const TICK_US = 128;
  core.poll(driven.nowUs);
  return [
    {
      name: 'timer: arm, new',
      operations: TIMERS,
      prepare() {},
      run: () => core.hotTimerArm(TIMERS, 1000, TICK_US),
      settle: () => core.hotTimerRemove(TIMERS),
    },
    {
      name: 'timer: arm again, later (every segment)',
      operations: TIMERS,
      prepare: () => core.hotTimerArm(TIMERS, 1000, TICK_US),
      run: () => core.hotTimerArm(TIMERS, 2000, TICK_US),
      settle: () => core.hotTimerRemove(TIMERS),
    },
    {
      name: 'timer: cancel',
      operations: TIMERS,
      prepare: () => core.hotTimerArm(TIMERS, 1000, TICK_US),
      run: () => core.hotTimerCancel(TIMERS),
      settle: () => core.hotTimerRemove(TIMERS),
    },
    {
      name: 'timer: expire (each in a tick of its own)',
      operations: TIMERS,
      prepare: () => core.hotTimerArm(TIMERS, 1000, TICK_US),
      run() {
        driven.nowUs += 1000 + (TIMERS + 1) * TICK_US;
        core.poll(driven.nowUs);
      },
    },
  ];
}

const setting = begin({ what: 'Inner functions, looped over inside the core', link: 'none', offloads: 'none' });
const counts = quick ? [10, 10_000] : [10, 10_000, 1_000_000];
bench(setting, [...checksums(), headers(), ...counts.map(lookups), ...timers()]);
