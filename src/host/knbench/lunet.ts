import {
  CNT_CopiedBytes,
  CNT_HostCopiedBytes,
  CNT_LinkCopiedBytes,
  CNT_TcpRetransSegs,
  CTL_CLOCK_NS,
} from '../core/layout.js';
import { offloadsText } from '../link/offloads.js';
import type { LoopOptions } from '../loop/loop.js';
import { createNet } from '../net/net.js';
import { rpcOverZc } from '../rpc/index.js';
import { openStack, type Stack } from '../stack.js';
import { createZc } from '../zc/index.js';
import type { ClientEnd, EndTotals, ServerEnd } from './meter.js';
import { listenRpc, runRpcClient } from './rpc.js';
import { echo, runStreamClient, streamNet } from './stream.js';
import type { EndInfo, EndSpec } from './types.js';
import { listenZc, runZcClient } from './zc.js';

/** Room for the largest workload of the demo, 16 requests of 64 KiB, in each direction. */
const BUFFER_BYTES = 2 * 1024 * 1024;
const PAIR_LINK = 'memory:knbench';
const PAIR_SERVER = '10.77.0.1';
const PAIR_CLIENT = '10.77.0.2';

function open(spec: EndSpec, loop: LoopOptions = {}): Promise<Stack> {
  if (spec.link === undefined) throw new Error('a lunet end needs a link');
  const link = spec.mtu === undefined ? spec.link : `${spec.link}${spec.link.includes('?') ? '&' : '?'}mtu=${spec.mtu}`;
  return openStack({
    link,
    loop,
    sndBufBytes: BUFFER_BYTES,
    rcvBufBytes: BUFFER_BYTES,
    ...(spec.address !== undefined ? { address: spec.address } : {}),
    ...(spec.trustLink !== undefined ? { trustLink: spec.trustLink } : {}),
  });
}

function totalsOf({ core }: Stack): EndTotals {
  return {
    copiedBytes: core.counter(CNT_CopiedBytes) + core.counter(CNT_HostCopiedBytes) + core.counter(CNT_LinkCopiedBytes),
    retransmits: core.counter(CNT_TcpRetransSegs),
  };
}

function infoOf(stack: Stack, { port, trustLink }: EndSpec): EndInfo {
  const { info } = stack.link;
  const offloads = offloadsText(info.offloads);
  return {
    port,
    link: info.uri,
    driver: info.driver,
    mtu: info.mtu,
    offloads: trustLink ? `no checksums at all (link trusted); ${offloads}` : offloads,
    hugepages: stack.hugepages,
    driverCopies: info.copiesPerPayloadByte,
  };
}

async function serverOn(stack: Stack, spec: EndSpec): Promise<ServerEnd> {
  const info = infoOf(stack, spec);
  const totals = (): EndTotals => totalsOf(stack);
  if (spec.mode === 'zc') {
    listenZc(stack, spec.port);
    return { info, totals, close: () => stack.close() };
  }
  if (spec.mode === 'rpc') {
    await listenRpc(rpcOverZc(createZc(stack)), spec.port);
    return { info, totals, close: () => stack.close() };
  }
  const listener = await streamNet(createNet(stack)).listen(spec.port, undefined, echo);
  return {
    info,
    totals,
    close: async () => {
      await listener.close();
      await stack.close();
    },
  };
}

function clientOn(stack: Stack, spec: EndSpec, server: string): ClientEnd {
  const net = streamNet(createNet(stack));
  const rpc = rpcOverZc(createZc(stack));
  const clockNs = (): number => stack.core.dv.getFloat64(CTL_CLOCK_NS, true);
  const at = { address: server, port: spec.port };
  return {
    info: infoOf(stack, spec),
    run: (workload, onMeasuring) => {
      if (spec.mode === 'zc') return runZcClient(stack, at, workload, onMeasuring);
      if (spec.mode === 'rpc') return runRpcClient(rpc, at, workload, onMeasuring, clockNs);
      return runStreamClient(net, server, spec.port, workload, onMeasuring);
    },
    totals: () => totalsOf(stack),
    close: () => stack.close(),
  };
}

export async function openLunetServer(spec: EndSpec, loop?: LoopOptions): Promise<ServerEnd> {
  return serverOn(await open(spec, loop), spec);
}

export async function openLunetClient(spec: EndSpec, loop?: LoopOptions): Promise<ClientEnd> {
  if (spec.server === undefined) throw new Error('a client needs the address of its server');
  return clientOn(await open(spec, loop), spec, spec.server);
}

/** Both ends on one memory link, in one thread. */
export async function openLunetPair(spec: EndSpec): Promise<{ server: ServerEnd; client: ClientEnd }> {
  // Two loops take turns on one event loop: spinning would only keep the other from answering.
  const loop: LoopOptions = { yieldUs: 0 };
  const server = await openLunetServer({ ...spec, link: PAIR_LINK, address: `${PAIR_SERVER}/24` }, loop);
  const client = await openLunetClient(
    { ...spec, link: PAIR_LINK, address: `${PAIR_CLIENT}/24`, server: PAIR_SERVER },
    loop,
  );
  return { server, client };
}
