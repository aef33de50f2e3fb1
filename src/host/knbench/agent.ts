import type { ClientEnd, ServerEnd } from './meter.js';
import type { ClientFigures, Command, EndInfo, EndSpec, Reply, Usage, Workload } from './types.js';

// One end of a benchmark in a process of its own (or both ends, on a memory link), driven over the IPC channel. The
// channel is silent while a run is measured, so it costs the polling loop nothing.

/** How long an agent without a parent may take to close its ends. */
const DISCONNECT_MS = 2000;

interface Ends {
  server?: ServerEnd;
  client?: ClientEnd;
}

export async function openEnds(spec: EndSpec): Promise<Ends> {
  if (spec.stack === 'lunet') {
    const lunet = await import('./lunet.js');
    if (spec.role === 'both') return lunet.openLunetPair(spec);
    return spec.role === 'server'
      ? { server: await lunet.openLunetServer(spec) }
      : { client: await lunet.openLunetClient(spec) };
  }
  const kernel = await kernelEnds(spec);
  if (spec.role === 'client') return { client: await kernel.client(spec) };
  const server = await kernel.server(spec);
  if (spec.role === 'server') return { server };
  return { server, client: await kernel.client({ ...spec, port: server.info.port }) };
}

async function kernelEnds({ mode }: EndSpec): Promise<{
  server(spec: EndSpec): Promise<ServerEnd>;
  client(spec: EndSpec): Promise<ClientEnd>;
}> {
  if (mode === 'copy' || mode === 'rpc') {
    const kernel = await import('./kernel.js');
    return { server: kernel.openKernelServer, client: kernel.openKernelClient };
  }
  const program = await import('./program.js');
  return { server: program.openProgramServer, client: program.openProgramClient };
}

export function usageOf(ends: Ends): Usage {
  const cpu = process.cpuUsage();
  const totals = [ends.server?.totals(), ends.client?.totals()].filter((t) => t !== undefined);
  return {
    cpuSeconds: totals.reduce((sum, t) => sum + (t.cpuSeconds ?? 0), (cpu.user + cpu.system) / 1e6),
    copiedBytes: totals.reduce((sum, t) => sum + t.copiedBytes, 0),
    retransmits: totals.reduce((sum, t) => sum + t.retransmits, 0),
  };
}

export function infoOf(ends: Ends): EndInfo {
  const end = ends.server ?? ends.client;
  if (end === undefined) throw new Error('no end is open');
  return end.info;
}

export async function closeEnds(ends: Ends): Promise<void> {
  await ends.client?.close();
  await ends.server?.close();
}

function serve(send: (reply: Reply) => void): void {
  let ends: Ends = {};
  let work: Promise<void> = Promise.resolve();

  const measure = (workload: Workload): Promise<ClientFigures> => {
    if (ends.client === undefined) throw new Error('this process has no client end');
    return ends.client.run(workload, () => send({ type: 'measuring', usage: usageOf(ends) }));
  };
  const handle = async (command: Command): Promise<void> => {
    switch (command.type) {
      case 'open':
        ends = await openEnds(command.spec);
        send({ type: 'opened', info: infoOf(ends) });
        break;
      case 'run': {
        const figures = await measure(command.workload);
        send({ type: 'result', figures, usage: usageOf(ends) });
        break;
      }
      case 'usage':
        send({ type: 'usage', usage: usageOf(ends) });
        break;
      case 'close':
        await closeEnds(ends);
        ends = {};
        send({ type: 'closed' });
        process.disconnect?.();
        break;
    }
  };
  process.on('message', (command: Command) => {
    work = work
      .then(() => handle(command))
      .catch((error: unknown) => {
        send({ type: 'failed', message: error instanceof Error ? error.message : String(error) });
      });
  });
  // The parent has had its answer to `close`, or is gone: what runs then has nobody to report to.
  process.on('disconnect', () => {
    setTimeout(() => process.exit(), DISCONNECT_MS);
    void closeEnds(ends).finally(() => process.exit());
  });
  send({ type: 'ready' });
}

const channel = process.send?.bind(process);
if (channel !== undefined && process.env.LUNET_KNBENCH_AGENT === '1') serve((reply) => void channel(reply));
