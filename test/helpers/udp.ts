// UDP sockets of a manual core, and datagrams of its peer's.
import * as assert from 'uvu/assert';
import { readAddress, writeAddress } from '../../src/host/core/address.js';
import type { CoreConfig, InlineEvent } from '../../src/host/core/core.js';
import * as L from '../../src/host/core/layout.js';
import * as F from './frames.js';
import * as F6 from './frames6.js';
import { type ManualCore, manualCore, PEER_MAC } from './manual.js';

export const PEER = '10.0.0.2';
export const PEER6 = F6.PEER_IP6;

export interface Datagram {
  from: string;
  port: number;
  to: string;
  data: Uint8Array;
}

/** What a frame of the core's says, when it is UDP that is not fragmented. */
export interface SentDatagram {
  from: string;
  to: string;
  srcPort: number;
  dstPort: number;
  data: Uint8Array;
  frame: Uint8Array;
}

export const bytes = (length: number, seed = 0): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i * 7 + seed) & 255);

export class Udp {
  readonly m: ManualCore;

  constructor(config: Partial<CoreConfig> = {}, onEvent?: InlineEvent) {
    this.m = manualCore(config, onEvent);
    const { core } = this.m;
    writeAddress(core.u8, core.scratch, F6.OWN_IP6);
    assert.is(core.addressAdd(core.scratch, 64), 0);
    for (const peer of [PEER, PEER6]) {
      writeAddress(core.u8, core.scratch, peer);
      core.u8.set(PEER_MAC, core.scratch + 16);
      assert.is(core.neighSet(core.scratch, core.scratch + 16), 0);
    }
    this.m.take();
  }

  address(text: string): number {
    const { core } = this.m;
    writeAddress(core.u8, core.scratch + 512, text);
    return core.scratch + 512;
  }

  open(address: string, port: number, flags = 0): number {
    const handle = this.m.core.udpOpen(flags);
    assert.ok(handle > 0, `open: ${handle}`);
    assert.is(this.m.core.udpBind(handle, this.address(address), port), 0);
    return handle;
  }

  /** -errno of a second bind to this. */
  refused(address: string, port: number, flags = 0): number {
    const { core } = this.m;
    const handle = core.udpOpen(flags);
    const result = core.udpBind(handle, this.address(address), port);
    core.udpClose(handle);
    return result;
  }

  connect(handle: number, address: string, port: number): number {
    return this.m.core.udpConnect(handle, this.address(address), port);
  }

  /** Sends pieces as one datagram. */
  send(handle: number, pieces: readonly Uint8Array[], to = '', port = 0): number {
    const { core } = this.m;
    const held = pieces.map((piece) => {
      const addr = core.alloc(Math.max(piece.length, 1));
      assert.ok(addr > 0);
      core.u8.set(piece, addr);
      return addr;
    });
    for (const [i, addr] of held.entries()) core.u32.set([addr, pieces[i].length], (core.scratch >> 2) + 2 * i);
    const result = core.udpSend(handle, core.scratch, pieces.length, to === '' ? 0 : this.address(to), port);
    for (const addr of held) assert.is(core.free(addr), 0);
    return result;
  }

  /** From the peer, to one of our addresses. */
  in(dstPort: number, payload: Uint8Array = bytes(4), srcPort = 5000): void {
    this.m.inject(F.udpFrame({ srcPort, dstPort, payload }));
  }

  in6(dstPort: number, payload: Uint8Array = bytes(4), srcPort = 5000): void {
    this.m.inject(F6.frame6({ next: F6.UDP_PROTO, payload: F.udpBytes({ srcPort, dstPort, payload }) }));
  }

  /** The descriptor at `at`; gives its payload back. */
  read(at: number): Datagram {
    const { core } = this.m;
    const addr = core.dv.getUint32(at + L.UDPD_addr, true);
    const len = core.dv.getUint32(at + L.UDPD_len, true);
    const datagram = {
      from: readAddress(core.u8, at + L.UDPD_remote),
      to: readAddress(core.u8, at + L.UDPD_local),
      port: core.dv.getUint32(at + L.UDPD_port, true),
      data: core.u8.slice(addr, addr + len),
    };
    assert.is(core.free(addr), 0);
    return datagram;
  }

  recv(handle: number, most = 16): Datagram[] {
    const { core } = this.m;
    const at = core.scratch + 1024;
    const count = core.udpRecv(handle, at, most);
    if (count === -L.EAGAIN) return [];
    assert.ok(count > 0, `udpRecv: ${count}`);
    return Array.from({ length: count }, (_, i) => this.read(at + i * L.UDPD_SIZE));
  }

  /** UDP that the core has sent since, checksums verified. */
  out(): SentDatagram[] {
    return this.m.take().flatMap((raw): SentDatagram[] => {
      const frame = Uint8Array.from(raw);
      const dv = new DataView(frame.buffer);
      const v6 = F6.parse6(frame);
      if (v6 ? v6.next !== F6.UDP_PROTO : frame[23] !== 17) return [];
      if (v6) assert.is(v6.sumFine, true);
      else {
        const fixed = frame.slice();
        F.fixChecksums(fixed);
        assert.equal(fixed, frame, 'checksums are right');
      }
      const l4 = v6 ? 54 : 34;
      assert.is.not(dv.getUint16(l4 + 6), 0, 'a checksum of 0 is not sent');
      return [
        {
          from: v6 ? readAddress(v6.src, 0) : frame.slice(26, 30).join('.'),
          to: v6 ? readAddress(v6.dst, 0) : frame.slice(30, 34).join('.'),
          srcPort: dv.getUint16(l4),
          dstPort: dv.getUint16(l4 + 2),
          data: frame.slice(l4 + 8, l4 + dv.getUint16(l4 + 4)),
          frame,
        },
      ];
    });
  }

  count(name: string): number {
    return Number(this.m.core.counters()[name]);
  }

  /** Closes what is open and sees that nothing is left. */
  done(...handles: number[]): void {
    const { core } = this.m;
    for (const handle of handles) assert.is(core.udpClose(handle), 0);
    this.m.take();
    this.m.poll();
    this.m.events();
    assert.is(core.udpSocketsOpen(), 0, 'sockets');
    assert.is(core.udpQueued(), 0, 'records');
    assert.is(core.zbufInUse(), 0, 'Zbuf objects');
    assert.is(core.rxInUse(), 0, 'receive objects');
    assert.is(core.counter(L.CNT_ZbufMisuse), 0);
  }
}
