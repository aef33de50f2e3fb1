// The core under a script, in virtual time: everything it sends is kept with the time at which it was sent.
import { isIPv6 } from 'node:net';
import { writeAddress } from '../core/address.js';
import { type Core, writeParameters } from '../core/core.js';
import { type DrivenCore, driveCore } from '../core/driven.js';
import { addressesOf, type Settings } from './settings.js';
import { type Ends, readSegment, type SentSegment } from './wire.js';

const OWN_MAC = Uint8Array.of(2, 0, 0, 0, 0, 1);
const PEER_MAC = Uint8Array.of(2, 0, 0, 0, 0, 2);
/** Scripts inject segments as large as IPv4 allows, as if the device had put them together. */
const STRIDE = 65_600;
/** What the core's clock shows when a script begins. */
const EPOCH_US = 1_000_000_000;
/** Prefix lengths count in 128 bits: /16 and the default route, and for IPv6 /48. */
const LOCAL_PREFIX = 112;
const DEFAULT_PREFIX = 96;
const LOCAL_PREFIX_6 = 48;

export interface Machine {
  readonly core: Core;
  /** Microseconds since the script began. */
  nowUs(): number;
  /** Sent and not yet looked at, oldest first. */
  readonly sent: SentSegment[];
  /** From the remote host to the core. */
  readonly ends: Ends;
  inject(frame: Uint8Array): void;
  /** Lets the core send what a call has queued. */
  turn(): void;
  /** The settings have changed. */
  reconfigure(): void;
  /** Moves time to `toUs`, or to where `done` first holds. */
  advance(toUs: number, done?: () => boolean): void;
}

export type EventSink = (handle: number, kind: number, a: number) => void;

/** `onTurn` runs whenever the core has done something. */
export function createMachine(settings: Settings, onEvent: EventSink, onTurn: () => void): Machine {
  const driven: DrivenCore = driveCore({ ...settings.config, mac: OWN_MAC }, { stride: STRIDE });
  driven.nowUs = EPOCH_US;
  const { core } = driven;
  const at = core.scratch;
  const { local, remote, gateway: gatewayIp } = addressesOf(settings);
  writeAddress(core.u8, at, local);
  const six = isIPv6(local);
  core.addressAdd(at, six ? LOCAL_PREFIX_6 : LOCAL_PREFIX);
  const gateway = at + 16;
  writeAddress(core.u8, gateway, gatewayIp);
  core.u8.set(PEER_MAC, at + 32);
  core.neighSet(gateway, at + 32);
  writeAddress(core.u8, at, six ? '::' : '0.0.0.0');
  core.routeAdd(at, six ? 0 : DEFAULT_PREFIX, gateway, 0);

  const sent: SentSegment[] = [];
  const bytes = (text: string): Uint8Array => {
    const sixteen = new Uint8Array(16);
    writeAddress(sixteen, 0, text);
    return six ? sixteen : sixteen.slice(12);
  };
  const ends: Ends = { srcMac: PEER_MAC, dstMac: OWN_MAC, src: bytes(remote), dst: bytes(local) };
  const nowUs = (): number => driven.nowUs - EPOCH_US;

  function collect(): void {
    for (const frame of driven.take()) {
      const segment = readSegment(frame, nowUs());
      if (segment !== null) sent.push(segment);
    }
    for (const [handle, kind, a] of driven.events()) onEvent(handle, kind, a);
  }

  /** Runs what is due now. Returns when the next timer is. */
  function run(): number {
    let next = driven.poll();
    collect();
    onTurn();
    // onTurn may have finished a blocking call, which may send.
    next = driven.poll();
    collect();
    return next;
  }

  return {
    core,
    nowUs,
    sent,
    ends,
    inject(frame) {
      if (driven.inject(frame) === 0) throw new RangeError(`a frame of ${frame.length} bytes, or no room for one`);
      collect();
      run();
    },
    turn() {
      run();
    },
    reconfigure() {
      writeParameters(core.dv, settings.config);
    },
    advance(toUs, done = () => false) {
      const target = EPOCH_US + toUs;
      let next = run();
      while (!done()) {
        if (next > target) {
          if (driven.nowUs < target) {
            driven.nowUs = target;
            run();
          }
          return;
        }
        driven.nowUs = Math.max(next, driven.nowUs + 1);
        next = run();
      }
    },
  };
}
