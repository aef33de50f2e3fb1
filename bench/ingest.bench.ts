// Receive path by depth: how far a frame gets before it is dropped or answered. Frames are injected by hand, so that
// the same ones can come again and again.
import { writeAddress } from '../src/host/core/address.js';
import * as L from '../src/host/core/layout.js';
import { icmpEcho, ipFrame, PEER_IP, RST, tcpFrame } from '../test/helpers/frames.js';
import { manualCore, PEER_MAC } from '../test/helpers/manual.js';
import { bench, type Case } from './harness.js';

const BURST = 32;

/** Puts one frame into the receive ring 32 times and gives what the core sends back to no one. */
function inject(name: string, frame: Uint8Array, trusted = false): Case {
  const flags = L.CFGF_ARP | L.CFGF_ICMP_ECHO | (trusted ? L.CFGF_RX_TRUST : 0);
  const manual = manualCore({ flags });
  const { core } = manual;
  const { u32, u8 } = core;
  const freeAt = u32[L.CTL_FREE_AT >> 2] >> 2;
  const freeMask = u32[L.CTL_FREE_SIZE >> 2] - 1;
  const rxAt = u32[L.CTL_RX_AT >> 2] >> 2;
  const txHead = L.CTL_TX_HEAD >> 2;
  const txAt = u32[L.CTL_TX_AT >> 2] >> 2;
  const txMask = u32[L.CTL_TX_SIZE >> 2] - 1;
  const doneAt = u32[L.CTL_DONE_AT >> 2] >> 2;
  const doneMask = u32[L.CTL_DONE_SIZE >> 2] - 1;
  writeAddress(u8, core.scratch, PEER_IP.join('.'));
  u8.set(PEER_MAC, core.scratch + 16);
  core.neighSet(core.scratch, core.scratch + 16);
  // Objects leave the pool through the first injection and come back through the FREE ring ever after.
  const objects: number[] = [];
  const firstFree = u32[L.CTL_FREE_HEAD >> 2];
  manual.inject(...Array.from({ length: BURST }, () => frame));
  manual.take();
  for (let i = firstFree; i !== u32[L.CTL_FREE_HEAD >> 2]; i++) objects.push(u32[freeAt + (i & freeMask)]);
  if (objects.length !== BURST) throw new Error(`${name}: ${BURST - objects.length} objects did not come back`);
  let nowUs = manual.nowUs;
  return {
    name,
    operations: BURST,
    run() {
      for (let i = 0; i < BURST; i++) {
        const object = objects[i];
        u8.set(frame, object);
        const entry = rxAt + 4 * i;
        u32[entry] = object;
        u32[entry + 1] = frame.length;
        u32[entry + 2] = 0;
      }
      nowUs += 10;
      core.ingest(BURST, nowUs);
      core.flush(nowUs);
      u32[L.CTL_FREE_TAIL >> 2] = u32[L.CTL_FREE_HEAD >> 2];
      let tail = u32[L.CTL_TX_TAIL >> 2];
      for (; tail !== u32[txHead]; tail = (tail + 1) >>> 0) {
        u32[doneAt + (u32[L.CTL_DONE_HEAD >> 2]++ & doneMask)] = u32[txAt + 4 * (tail & txMask)];
      }
      u32[L.CTL_TX_TAIL >> 2] = tail;
    },
  };
}

function unknownEthertype(): Uint8Array {
  const frame = new Uint8Array(64);
  frame.set(tcpFrame({ srcPort: 1, dstPort: 2, seq: 0, ack: 0, flags: RST, window: 0 }).subarray(0, 12));
  frame[12] = 0x88;
  frame[13] = 0xcc;
  return frame;
}

const segment = (payloadBytes: number): Uint8Array =>
  tcpFrame({
    srcPort: 40000,
    dstPort: 9,
    seq: 1,
    ack: 1,
    // It passes parsing, checksum and lookup; a reset is then dropped without an answer (RFC 9293 §3.10.7.1).
    flags: RST,
    window: 1000,
    payload: new Uint8Array(payloadBytes),
  });

bench([
  inject('unknown ethertype', unknownEthertype()),
  inject('IPv4, unknown protocol', ipFrame(200, 40)),
  inject('ICMP echo of 56 B, answered', icmpEcho(new Uint8Array(56))),
  inject('TCP without a connection, no payload', segment(0)),
  inject('TCP without a connection, 1460 B, checksum verified', segment(1460)),
  inject('TCP without a connection, 1460 B, checksum trusted', segment(1460), true),
]);
