// Routes: longest prefix against a naive model, and what a change does to traffic.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { writeAddress } from '../../src/host/core/address.js';
import * as L from '../../src/host/core/layout.js';
import { compileEntry } from '../helpers/compile.js';
import * as F from '../helpers/frames.js';
import { type ManualCore, manualCore } from '../helpers/manual.js';
import { random } from '../helpers/random.js';

interface Route {
  dst: Uint8Array;
  length: number;
  gateway: Uint8Array | null;
}

test('the longest prefix wins, as in a list walked bit by bit', async () => {
  const module = await compileEntry(`
    import { arenaReset } from './abi/arena';
    import { CFG_ARENA_END, CFG_MAX_NEIGHBOURS, CFG_MAX_ROUTES } from './abi/layout';
    import { routeAdd, routeDel, routeLookup, routesInit } from './ip/route';
    export { routeAdd, routeClear, routeDel } from './ip/route';
    export function init(routes: u32): i32 {
      store<u32>(CFG_ARENA_END, 1 << 20);
      store<u32>(CFG_MAX_ROUTES, routes);
      store<u32>(CFG_MAX_NEIGHBOURS, 16);
      arenaReset();
      return routesInit();
    }
    /** Copies prefix length and gateway of the route for an address; -1 when there is none. */
    export function lookup(address: u32, to: u32): i32 {
      const route = routeLookup(address);
      if (route == 0) return -1;
      memory.copy(to, route + 32, 16);
      return load<i32>(route + 48);
    }
  `);
  const memory = new WebAssembly.Memory({ initial: 32, maximum: 65536 });
  const imports = { env: { memory }, host: { event: (): void => {} } };
  const core = new WebAssembly.Instance(module, imports).exports as unknown as {
    init(routes: number): number;
    routeAdd(dst: number, length: number, gateway: number, mtu: number): number;
    routeDel(dst: number, length: number, gateway: number): number;
    routeClear(): number;
    lookup(address: number, to: number): number;
  };
  const u8 = new Uint8Array(memory.buffer);
  const [dstAt, gatewayAt, toAt] = [1_500_000, 1_500_016, 1_500_032];
  const LIMIT = 60;
  assert.is(core.init(LIMIT), 0);

  const bit = (address: Uint8Array, i: number): number => (address[i >> 3] >> (7 - (i & 7))) & 1;
  const inside = (address: Uint8Array, route: Route): boolean => {
    for (let i = 0; i < route.length; i++) if (bit(address, i) !== bit(route.dst, i)) return false;
    return true;
  };
  const masked = (route: Route): string => {
    let text = `${route.length} ${route.gateway ? Buffer.from(route.gateway).toString('hex') : ''} `;
    for (let i = 0; i < route.length; i++) text += bit(route.dst, i);
    return text;
  };

  for (let seed = 1; seed <= 20; seed++) {
    const r = random(seed);
    const model = new Map<string, Route>();
    const address = (): Uint8Array => {
      const bytes = r.oneIn(4) ? r.bytes(16) : new Uint8Array(16);
      if (bytes[0] === 0) bytes.set([0xff, 0xff, 10, r.below(2), r.below(3), r.below(256)], 10);
      return bytes;
    };
    core.routeClear();
    for (let i = 0; i < 600; i++) {
      const what = r.below(9);
      if (what < 3) {
        const route = {
          dst: address(),
          length: r.oneIn(3) ? r.below(129) : 96 + r.below(33),
          gateway: r.oneIn(2) ? address() : null,
        };
        u8.set(route.dst, dstAt);
        if (route.gateway) u8.set(route.gateway, gatewayAt);
        const at = route.gateway ? gatewayAt : 0;
        const key = masked(route);
        const expected = model.has(key) || model.size < LIMIT ? 0 : -L.ENOBUFS;
        assert.is(core.routeAdd(dstAt, route.length, at, 0), expected, `seed ${seed}`);
        if (expected === 0 && !model.has(key)) model.set(key, route);
      } else if (what < 5 && model.size > 0) {
        const [key, route] = r.pick([...model]);
        u8.set(route.dst, dstAt);
        if (route.gateway) u8.set(route.gateway, gatewayAt);
        assert.is(core.routeDel(dstAt, route.length, route.gateway ? gatewayAt : 0), 0, `seed ${seed}`);
        assert.is(core.routeDel(dstAt, route.length, route.gateway ? gatewayAt : 0), -L.EINVAL, `seed ${seed}`);
        model.delete(key);
      }
      const wanted = r.oneIn(2) && model.size > 0 ? r.pick([...model.values()]).dst : address();
      let best: Route | null = null;
      // Of equals the one added first.
      for (const route of model.values())
        if (inside(wanted, route) && route.length > (best?.length ?? -1)) best = route;
      u8.set(wanted, dstAt);
      assert.is(core.lookup(dstAt, toAt), best ? best.length : -1, `seed ${seed}, step ${i}`);
      if (best) assert.equal([...u8.slice(toAt, toAt + 16)], [...(best.gateway ?? new Uint8Array(16))], `seed ${seed}`);
    }
  }
});

// ---- through the ABI: an echo request from `from` is answered by way of the route to `from` --------------------

function put(manual: ManualCore, at: number, text: string): number {
  writeAddress(manual.core.u8, manual.core.scratch + at, text);
  return manual.core.scratch + at;
}

/** Last byte of the address that is asked for when `from` is to be answered; -1 when nothing is. */
function nextHop(manual: ManualCore, from: number[]): number {
  const frame = F.icmpEcho(new Uint8Array(4));
  frame.set(from, 26);
  F.fixChecksums(frame);
  manual.inject(frame);
  const requests = manual.take().filter((f) => f[12] === 8 && f[13] === 6);
  // Let it fail, so that the next question is asked anew.
  for (let i = 0; i < 20; i++) {
    manual.nowUs += 500_000;
    manual.poll();
    manual.take();
  }
  return requests.length === 0 ? -1 : requests[0][41];
}

test('an address with its prefix is enough on a link of two', () => {
  const manual = manualCore();
  assert.is(nextHop(manual, [10, 0, 0, 9]), 9);
  assert.is(nextHop(manual, [10, 0, 1, 9]), -1);
  assert.is(manual.core.counter(L.CNT_IpOutNoRoutes), 0, 'an echo without a way back is not begun');
});

test('gateways, host routes and deletions take effect at once', () => {
  const manual = manualCore();
  const { core } = manual;
  const add = (dst: string, length: number, gateway: string | null): number =>
    core.routeAdd(put(manual, 0, dst), length, gateway ? put(manual, 16, gateway) : 0, 0);
  const far = [192, 168, 5, 5];
  assert.is(nextHop(manual, far), -1);
  assert.is(add('0.0.0.0', 96, '10.0.0.254'), 0);
  assert.is(nextHop(manual, far), 254);
  assert.is(add('192.168.0.0', 112, '10.0.0.253'), 0);
  assert.is(nextHop(manual, far), 253);
  assert.is(add('192.168.5.5', 128, '10.0.0.252'), 0);
  assert.is(nextHop(manual, far), 252);
  assert.is(nextHop(manual, [192, 168, 5, 6]), 253);
  assert.is(add('192.168.5.6', 128, null), 0);
  assert.is(nextHop(manual, [192, 168, 5, 6]), 6);
  assert.is(core.routeDel(put(manual, 0, '192.168.5.5'), 128, put(manual, 16, '10.0.0.252')), 0);
  assert.is(nextHop(manual, far), 253);
  assert.is(core.routeClear(), 0);
  assert.is(nextHop(manual, far), -1);
  assert.is(nextHop(manual, [10, 0, 0, 9]), 9, 'the address keeps its own route');
});

test('a route that comes with an address stays while either reason does', () => {
  const manual = manualCore();
  const { core } = manual;
  const net = (): number => put(manual, 0, '10.0.0.0');
  assert.is(core.routeDel(net(), 120, 0), -L.EINVAL, 'not added by hand');
  assert.is(core.routeAdd(net(), 120, 0, 0), 0);
  assert.is(core.addressAdd(put(manual, 0, '10.0.0.5'), 120), 0);
  assert.is(core.routeDel(net(), 120, 0), 0);
  assert.is(nextHop(manual, [10, 0, 0, 9]), 9);
  assert.is(core.addressDel(put(manual, 0, '10.0.0.5'), 120), 0);
  assert.is(nextHop(manual, [10, 0, 0, 9]), 9, 'the other address of the prefix');
  assert.is(core.addressDel(put(manual, 0, '10.0.0.5'), 120), -L.EINVAL);
  assert.is(core.addressDel(put(manual, 0, '10.0.0.1'), 119), -L.EINVAL);
  assert.is(core.addressDel(put(manual, 0, '10.0.0.1'), 120), 0);
  assert.is(core.routeAt(0, core.scratch), -L.EBADF);
});

test('the table is shown as it is', () => {
  const manual = manualCore();
  const { core } = manual;
  core.routeAdd(put(manual, 0, '0.0.0.0'), 96, put(manual, 16, '10.0.0.254'), 1400);
  const shown = [];
  const at = core.scratch + 64;
  for (let i = 0; core.routeAt(i, at) === 0; i++) {
    shown.push([
      core.u8.slice(at + 12, at + 16).join('.'),
      core.u8.slice(at + 28, at + 32).join('.'),
      core.dv.getUint32(at + L.ROUTE_prefix_length, true),
      core.dv.getUint32(at + L.ROUTE_mtu, true),
      core.dv.getUint32(at + L.ROUTE_flags, true),
    ]);
  }
  assert.equal(shown, [
    ['10.0.0.0', '0.0.0.0', 120, 0, L.ROUTEF_CONNECTED],
    ['0.0.0.0', '10.0.0.254', 96, 1400, L.ROUTEF_ADDED | L.ROUTEF_GATEWAY],
  ]);
});

test('a route’s MTU bounds what is sent by it', () => {
  const manual = manualCore();
  const { core } = manual;
  manual.inject(F.arpFrame(1));
  manual.take();
  const answered = (bytes: number): boolean => {
    manual.inject(F.icmpEcho(new Uint8Array(bytes)));
    return manual.take().length > 0;
  };
  assert.ok(answered(1472));
  core.routeAdd(put(manual, 0, '10.0.0.2'), 128, 0, 1000);
  assert.ok(answered(972));
  assert.not.ok(answered(973));
  core.routeAdd(put(manual, 0, '10.0.0.2'), 128, 0, 10);
  assert.ok(answered(548), 'never below 576');
  core.routeClear();
  assert.ok(answered(1472));
});

test('a link that changes its MAC and MTU is heard and spoken on with the new ones', () => {
  const manual = manualCore();
  const { core } = manual;
  const mac = new Uint8Array([2, 0, 0, 0, 0, 99]);
  core.u8.set(mac, core.scratch);
  assert.is(core.linkConfig(core.scratch, 1000, 0), 0);
  const toOld = F.arpFrame(1);
  manual.inject(toOld);
  assert.equal([...manual.take()[0].slice(6, 12)], [...mac]);
  const echo = F.icmpEcho(new Uint8Array(4));
  manual.inject(echo);
  assert.is(manual.take().length, 0, 'the old MAC is another host’s');
  echo.set(mac, 0);
  manual.inject(echo);
  assert.is(manual.take().length, 1);
  assert.is(core.linkConfig(core.scratch, 575, 0), -L.EINVAL);
  assert.is(core.linkConfig(0xfffffffe, 1500, 0), -L.EINVAL);
  assert.is(core.linkConfig(0, 1500, 0), -L.EINVAL, 'no MAC');
  core.u8[core.scratch] = 1;
  assert.is(core.linkConfig(core.scratch, 1500, 0), -L.EINVAL, 'a group MAC');
});

test('bad arguments are errors', () => {
  const manual = manualCore();
  const { core } = manual;
  const at = put(manual, 0, '10.0.0.0');
  const outside = 0xfffffff8;
  assert.is(core.routeAdd(at, 129, 0, 0), -L.EINVAL);
  assert.is(core.routeAdd(outside, 96, 0, 0), -L.EINVAL);
  assert.is(core.routeAdd(at, 96, outside, 0), -L.EINVAL);
  assert.is(core.routeDel(at, 129, 0), -L.EINVAL);
  assert.is(core.routeDel(outside, 96, 0), -L.EINVAL);
  assert.is(core.addressAdd(outside, 120), -L.EINVAL);
  assert.is(core.addressAdd(at, 95), -L.EINVAL, 'an IPv4 prefix longer than the address');
  assert.is(core.addressAdd(put(manual, 0, '224.0.0.1'), 128), -L.EINVAL);
  assert.is(core.addressAdd(put(manual, 0, '127.0.0.1'), 104), -L.EINVAL);
  assert.is(core.addressDel(outside, 120), -L.EINVAL);
  assert.is(core.routeAt(0, outside), -L.EINVAL);
  for (let i = 0; i < 15; i++) assert.is(core.addressAdd(put(manual, 0, `10.0.1.${i + 1}`), 120), 0);
  assert.is(core.addressAdd(put(manual, 0, '10.0.2.1'), 120), -L.ENOBUFS);
  assert.is(core.routeAt(2, core.scratch), -L.EBADF, 'a refused address leaves no route');
});

test('IPv6 addresses and routes are kept, and nothing is sent by them yet', () => {
  const manual = manualCore();
  const { core } = manual;
  assert.is(core.addressAdd(put(manual, 0, 'fe80::1'), 64), 0);
  assert.is(core.routeAdd(put(manual, 0, '::'), 0, put(manual, 16, 'fe80::2'), 0), 0);
  assert.is(nextHop(manual, [10, 0, 0, 9]), 9);
  assert.is(nextHop(manual, [192, 0, 2, 9]), -1);
  assert.is(core.addressDel(put(manual, 0, 'fe80::1'), 64), 0);
});

test.run();
