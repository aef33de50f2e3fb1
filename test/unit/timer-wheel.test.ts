// The timing wheel against a list: random arming, cancelling, removing and advancing, with jumps.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { compileEntry } from '../helpers/compile.js';
import { type Random, random } from '../helpers/random.js';

const module = await compileEntry(
  `
  import { setNow } from './abi/runtime';
  import * as w from './timer/wheel';
  export function init(now: f64): void { setNow(now); w.timersInit(); }
  export function arm(node: u32, due: f64): void { w.timerArm(node, <u64>due); }
  export function cancel(node: u32): void { w.timerCancel(node); }
  export function remove(node: u32): void { w.timerRemove(node); }
  export function armed(node: u32): bool { return w.timerArmed(node); }
  export function run(now: f64): void { setNow(now); w.timersRun(); }
  export function next(): f64 { return w.timersNext(); }
  export function armMany(first: u32, count: u32, due: f64, step: f64): void {
    for (let i: u32 = 0; i < count; i++) w.timerArm(first + i * 16, <u64>(due + i * step));
  }
`,
  {
    'assembly/timer/dispatch.ts': `
      @external("test", "fired") declare function fired(node: u32): void;
      export function dispatch(node: u32): void { fired(node); }
    `,
  },
);

interface Wheel {
  init(now: number): void;
  arm(node: number, due: number): void;
  cancel(node: number): void;
  remove(node: number): void;
  armed(node: number): number;
  run(now: number): void;
  next(): number;
  armMany(first: number, count: number, due: number, step: number): void;
}

const TICK = 128;
const MINUTE = 60e6;
const HOUR = 3600e6;
const NODES = 65536;
const nodeAt = (i: number): number => NODES + 16 * i;

function wheel(fired: (node: number) => void, now = 0): Wheel & { u8: Uint8Array } {
  const memory = new WebAssembly.Memory({ initial: 4, maximum: 65536 });
  const exports = new WebAssembly.Instance(module, { env: { memory }, test: { fired } }).exports as unknown as Wheel;
  exports.init(now);
  return { ...exports, u8: new Uint8Array(memory.buffer) };
}

test('a timer fires once, not before it is due and at most a tick after', () => {
  for (const start of [0, 1, 127, 128, 5 * HOUR + 77]) {
    for (const delay of [0, 1, 127, 128, 129, 1000, 32767, 32768, 32769, 1e6, 8388608, MINUTE, HOUR, 70 * HOUR]) {
      let count = 0;
      const w = wheel(() => count++, start);
      w.arm(nodeAt(0), start + delay);
      for (let now = start; now < start + delay; now += Math.max(1, Math.floor(delay / 7))) {
        w.run(now);
        assert.is(count, 0, `start ${start} delay ${delay}: early at ${now - start}`);
      }
      w.run(start + delay + TICK);
      assert.is(count, 1, `start ${start} delay ${delay}: late`);
      w.run(start + delay + 10 * HOUR);
      assert.is(count, 1);
      assert.is(w.next(), Number.POSITIVE_INFINITY);
    }
  }
});

test('next() leads to the timer in a few steps and never past it', () => {
  const r = random(6);
  for (let round = 0; round < 500; round++) {
    const start = r.below(1e9);
    let count = 0;
    const w = wheel(() => count++, start);
    const due = start + Math.floor(10 ** (r.below(110) / 10)) + 1;
    w.arm(nodeAt(0), due);
    let steps = 0;
    while (count === 0) {
      const next = w.next();
      assert.ok(next <= due + TICK, `next ${next} is behind ${due}`);
      assert.ok(++steps <= 5, `${steps} wake-ups for one timer`);
      w.run(next);
      assert.ok(count === 0 || next >= due, 'early');
    }
  }
});

test('a clock that goes backwards, or is not a number, is harmless', () => {
  let count = 0;
  const w = wheel(() => count++, HOUR);
  w.arm(nodeAt(0), HOUR + 1000);
  w.run(0);
  w.run(-5);
  w.run(Number.NaN);
  w.arm(nodeAt(1), HOUR + 500);
  assert.is(count, 0);
  w.run(HOUR + 1128);
  assert.is(count, 2);
  w.run(Number.POSITIVE_INFINITY);
  assert.is(w.next(), Number.POSITIVE_INFINITY);
});

test('a jump of weeks fires everything once, in order, and what that arms fires in its time', () => {
  const order: number[] = [];
  const now = 30 * 24 * HOUR;
  const w = wheel((node) => {
    order.push((node - NODES) / 16);
    if (order.length <= 300) w.arm(nodeAt(300 + order.length), now + 10_000 + order.length * TICK);
  });
  for (let i = 0; i < 300; i++) w.arm(nodeAt(i), 1000 + (((i * 7919) % 300) * 70 * HOUR) / 300);
  w.run(now);
  assert.is(order.length, 300);
  const dues = order.map((i) => (i * 7919) % 300);
  assert.equal(
    dues,
    [...dues].sort((a, b) => a - b),
  );
  w.run(now + 10_000);
  assert.is(order.length, 300, 'nothing early');
  w.run(now + 10_000 + 302 * TICK);
  assert.is(order.length, 600, 'nothing lost');
});

test('a timer that re-arms itself for now fires once a run, however far the clock jumps', () => {
  let count = 0;
  let now = 0;
  const w = wheel((node) => {
    count++;
    w.arm(node, now);
  });
  w.arm(nodeAt(0), 0);
  for (now = TICK; now < 10 * HOUR; now += HOUR) {
    const before = count;
    w.run(now);
    assert.is(count, before + 1);
  }
});

test('a timer may remove any other, of its own tick too, and a removed node is free for other use', () => {
  let count = 0;
  const w = wheel(() => {
    count++;
    for (let i = 0; i < 10; i++) {
      w.remove(nodeAt(i));
      w.u8.fill(0, nodeAt(i), nodeAt(i) + 16);
    }
  });
  for (let i = 0; i < 10; i++) w.arm(nodeAt(i), 5000);
  w.arm(nodeAt(10), 6000);
  w.run(5120);
  assert.is(count, 1);
  w.run(7000);
  assert.is(count, 2);
});

test('ticks wrap after 152 hours without a timer lost', () => {
  const wrap = 2 ** 32 * TICK;
  for (const start of [wrap - HOUR, wrap - 1, wrap - 300 * TICK, 3 * wrap - 70 * HOUR]) {
    let count = 0;
    const w = wheel(() => count++, start);
    for (let i = 0; i < 200; i++) w.arm(nodeAt(i), start + i * 900e6);
    for (let i = 0; i < 200; i++) {
      w.run(start + i * 900e6 - 1);
      assert.is(count, i);
      w.run(start + i * 900e6 + TICK);
      assert.is(count, i + 1);
    }
  }
});

/** Steps of the clock: mostly those of a busy loop, now and then a sleep, seldom a long one. */
function step(r: Random): number {
  if (r.oneIn(200)) return r.below(50 * HOUR);
  if (r.oneIn(20)) return r.below(10 * MINUTE);
  if (r.oneIn(4)) return r.below(100_000);
  return r.below(300);
}

test('a timer that is armed now and then is out of the wheel when it is cancelled', () => {
  const w = wheel(() => {}, HOUR);
  for (let now = HOUR; now < HOUR + 10 * 200_000; now += 50_000) {
    w.run(now);
    w.arm(nodeAt(0), now + 200_000);
    w.cancel(nodeAt(0));
    assert.is(w.armed(nodeAt(0)), 0);
    assert.is(w.next(), Number.POSITIVE_INFINITY);
  }
});

test('one that is armed all the time stays filed, and fires when it is due', () => {
  let count = 0;
  const w = wheel(() => count++, HOUR);
  let now = HOUR;
  for (let i = 0; i < 10; i++, now += 1000) {
    w.run(now);
    w.arm(nodeAt(0), now + 200_000);
    w.cancel(nodeAt(0));
    assert.is(w.armed(nodeAt(0)), 0);
  }
  assert.ok(w.next() < HOUR + 201_000 + TICK, 'it waits in the wheel');
  w.arm(nodeAt(0), now + 200_000);
  for (let at = now; at < now + 200_000; at += 100) w.run(at);
  assert.is(count, 0, 'early');
  w.run(now + 200_000 + TICK);
  assert.is(count, 1);
  w.run(now + HOUR);
  assert.is(count, 1);
});

test('random use equals the list', () => {
  for (let seed = 1; seed <= 60; seed++) {
    const r = random(seed);
    let now = r.oneIn(2) ? r.below(1e12) : 2 ** 32 * TICK - r.below(20 * HOUR);
    const due = new Map<number, number>();
    /** Tick of the run before or in which a timer was armed: one for the past fires in the tick after it. */
    const armTick = new Map<number, number>();
    let running = false;
    let armedInRun = new Set<number>();
    const delay = (): number => Math.floor(10 ** (r.below(112) / 10)) - (r.oneIn(10) ? 5000 : 0);
    const arm = (node: number): void => {
      const at = Math.max(0, now + delay());
      w.arm(node, at);
      due.set(node, at);
      armTick.set(node, Math.floor(now / TICK));
      if (running) armedInRun.add(node);
    };
    let lastTick = 0;
    const w = wheel((node) => {
      const at = due.get(node);
      assert.ok(at !== undefined, `seed ${seed}: fired a timer that is not armed`);
      assert.ok(at <= now, `seed ${seed}: fired ${at - now} µs early`);
      assert.not.ok(armedInRun.has(node), `seed ${seed}: fired in the run that armed it`);
      const tick = Math.ceil(at / TICK);
      // A timer armed for the past is filed under the next tick.
      if (at > runFrom) assert.ok(tick >= lastTick, `seed ${seed}: out of order`);
      lastTick = Math.max(lastTick, tick);
      due.delete(node);
      if (r.oneIn(3)) arm(node);
      if (r.oneIn(10)) arm(nodeAt(r.below(64)));
      if (r.oneIn(10)) {
        const other = nodeAt(r.below(64));
        w.cancel(other);
        due.delete(other);
      }
    }, now);
    let runFrom = now;
    for (let i = 0; i < 3000; i++) {
      const node = nodeAt(r.below(64));
      const what = r.below(10);
      if (what < 6) arm(node);
      else if (what === 6) {
        w.cancel(node);
        due.delete(node);
      } else if (what === 7) {
        w.remove(node);
        due.delete(node);
      }
      assert.is(w.armed(node) !== 0, due.has(node), `seed ${seed}: armed()`);
      if (r.oneIn(3)) {
        now += step(r);
        running = true;
        armedInRun = new Set();
        lastTick = 0;
        w.run(now);
        running = false;
        runFrom = now;
        for (const [n, at] of due) {
          const missed = at <= now - TICK && Math.floor(now / TICK) > (armTick.get(n) ?? 0);
          assert.not.ok(missed, `seed ${seed}: a timer is ${now - at} µs late`);
        }
        const next = w.next();
        for (const at of due.values()) {
          assert.ok(next <= Math.max(at, now) + 2 * TICK, `seed ${seed}: next() is behind a timer`);
        }
        if (due.size > 0) assert.ok(next < Number.POSITIVE_INFINITY);
      }
    }
    now += 200 * HOUR;
    running = true;
    armedInRun = new Set();
    lastTick = 0;
    w.run(now);
    for (const n of due.keys()) assert.ok(armedInRun.has(n), `seed ${seed}: a timer is lost`);
  }
});

test('arming and moving cost the same with 10 and with 10,000 timers', () => {
  const cost = (count: number): number => {
    const w = wheel(() => {});
    w.armMany(NODES, count, 1e6, 37);
    const rounds = 200_000 / count;
    const begin = performance.now();
    for (let i = 0; i < rounds; i++) {
      // Earlier each time, so that every one is filed anew.
      w.armMany(NODES, count, 1e6 - i * 41, 37);
    }
    return (performance.now() - begin) / (rounds * count);
  };
  cost(1000);
  const few = Math.min(cost(10), cost(10), cost(10));
  const many = Math.min(cost(10_000), cost(10_000), cost(10_000));
  assert.ok(many < few * 20, `${(few * 1e6).toFixed(0)} ns and ${(many * 1e6).toFixed(0)} ns`);
});

test.run();
