// Follows the kernel's tables of one interface and tells them to its parent when asked: what the core would be told.

import { loadNative } from '../../../src/host/link/native.js';
import { interfaceInfo } from '../../../src/host/netlink/interface.js';
import { openNetlinkSync } from '../../../src/host/netlink/sync.js';
import { createFakeCore } from '../../helpers/fake-kernel.js';

export interface TablesReport {
  link: string;
  up: boolean;
  dumps: number;
  addresses: string[];
  routes: Record<string, string>;
  neighbours: Record<string, string>;
  calls: string[];
  info: { kind: string; mtuBytes: number; index: number; addresses: string[] };
}

export type TablesRequest = { ask: 'report' } | { ask: 'resolve'; address: number[] } | { ask: 'sleep'; ms: number };

const [ifname, family] = process.argv.slice(2);
const core = createFakeCore();
const sync = await openNetlinkSync(core, ifname, {
  addon: loadNative(),
  families: [family === 'IPv6' ? 'IPv6' : 'IPv4'],
  warning: (error) => {
    throw error;
  },
});
// The parent's channel keeps this process alive, and no longer than the parent lives.
sync.unref();
const info = await interfaceInfo(loadNative(), ifname);

process.on('message', (request: TablesRequest) => {
  if (request.ask === 'resolve') {
    sync.resolve(Uint8Array.from(request.address));
    return;
  }
  if (request.ask === 'sleep') {
    // The whole thread: nothing reads the netlink socket meanwhile.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, request.ms);
    return;
  }
  const report: TablesReport = {
    link: core.link,
    up: sync.up,
    dumps: sync.dumps,
    addresses: [...core.addresses],
    routes: Object.fromEntries(core.routes),
    neighbours: Object.fromEntries(core.neighbours),
    calls: core.calls,
    info: {
      kind: info.kind,
      mtuBytes: info.mtuBytes,
      index: info.index,
      addresses: info.addresses.map(({ address, prefixLength }) => `${address}/${prefixLength}`),
    },
  };
  process.send?.(report);
});
process.send?.('ready');
