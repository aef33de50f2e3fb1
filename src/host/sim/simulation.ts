// Hosts, paths and switches on one virtual clock, all decided by one seed.
import { type EventQueue, eventQueue } from './events.js';
import { type FrameStore, frameStore } from './frames.js';
import { createHost, type SimHost, type SimHostOptions } from './host.js';
import { createPath, type Path, type PathOptions } from './path.js';
import { pcapWriter } from './pcap.js';

export interface SimulationOptions {
  seed: number;
  /** Longest frame on any path. Default 2048. */
  frameBytes?: number;
  /** Folder for captures, one file a host; none without it. */
  captureFolder?: string | null;
}

export interface Simulation {
  readonly events: EventQueue;
  readonly frames: FrameStore;
  readonly hosts: readonly SimHost[];
  host(options: Omit<SimHostOptions, 'capture'>): SimHost;
  /** One direction towards a host or anything else that takes frames. */
  path(options: PathOptions, deliver: (slot: number) => void): Path;
  /** What a switch does: hands a frame on by its destination address, and to all but the sender when it is for all. */
  switchTo(ports: readonly { readonly host: SimHost; deliver(slot: number): void }[]): (slot: number) => void;
  /** Tells each host the MAC addresses of all others, so that none asks. */
  introduce(): void;
  /** Virtual time from here on. */
  runUs(us: number, done?: () => boolean): void;
  nowUs(): number;
  /** Ends captures. */
  close(): void;
}

export function createSimulation(options: SimulationOptions): Simulation {
  const events = eventQueue();
  const frames = frameStore(options.frameBytes ?? 2048);
  const hosts: SimHost[] = [];
  const captures: { close(): void }[] = [];
  let paths = 0;

  const macIs = (at: number, mac: Uint8Array): boolean => {
    const bytes = frames.bytes();
    for (let i = 0; i < 6; i++) if (bytes[at + i] !== mac[i]) return false;
    return true;
  };

  return {
    events,
    frames,
    hosts,
    host(hostOptions) {
      const capture = options.captureFolder ? pcapWriter(`${options.captureFolder}/${hostOptions.name}.pcap`) : null;
      if (capture) captures.push(capture);
      const host = createHost(events, frames, { ...hostOptions, capture });
      hosts.push(host);
      return host;
    },
    path(pathOptions, deliver) {
      // Each path has a sequence of its own, so that one path's traffic does not change another's fortune.
      const seed = Math.imul(options.seed, 0x9e3779b1) ^ Math.imul(++paths, 0x85ebca6b);
      return createPath({ events, frames, seed }, pathOptions, deliver);
    },
    switchTo: (ports) => (slot) => {
      const at = slot * frames.stride;
      const toAll = (frames.bytes()[at] & 1) === 1;
      for (const port of ports) {
        if (toAll ? !macIs(at + 6, port.host.mac) : macIs(at, port.host.mac)) port.deliver(frames.copy(slot));
      }
      frames.give(slot);
    },
    introduce() {
      for (const { core } of hosts) {
        for (const other of hosts) {
          if (other.core === core) continue;
          core.u8.set(other.address, core.scratch);
          core.u8.set(other.mac, core.scratch + 16);
          core.neighSet(core.scratch, core.scratch + 16);
        }
      }
    },
    runUs: (us, done) => events.run(events.nowNs() + Math.round(us * 1000), done),
    nowUs: () => events.nowNs() / 1000,
    close() {
      for (const capture of captures) capture.close();
    },
  };
}
