// Receive path by depth: how far a frame gets before it is dropped or answered. Frames are injected by hand, so that
// the same ones can come again and again.
import { writeAddress } from '../src/host/core/address.js';
import * as L from '../src/host/core/layout.js';
import { icmpEcho, ipFrame, PEER_IP, RST, tcpFrame } from '../test/helpers/frames.js';
import { manualCore, PEER_MAC } from '../test/helpers/manual.js';
import { begin, bench, type Case } from './harness.js';
import { openRings } from './rings.js';

const BURST = 32;

/** Puts one frame into the receive ring 32 times and gives what the core sends back to no one. */
function inject(name: string, frame: Uint8Array, trusted = false): Case {
  const flags = L.CFGF_ARP | L.CFGF_ICMP_ECHO | (trusted ? L.CFGF_RX_TRUST : 0);
  const manual = manualCore({ flags });
  const { core } = manual;
  writeAddress(core.u8, core.scratch, PEER_IP.join('.'));
  core.u8.set(PEER_MAC, core.scratch + 16);
  core.neighSet(core.scratch, core.scratch + 16);
  const rings = openRings(manual, BURST);
  for (const object of rings.objects) core.u8.set(frame, object);
  return {
    name,
    operations: BURST,
    run() {
      rings.receive(0, BURST, frame.length);
      rings.take();
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

const setting = begin({
  what: 'One frame in, by how far it gets; bursts of 32, the frames lie in the cache',
  link: 'none: the rings are worked by hand',
  offloads: 'none: checksums in software except where trusted',
});
bench(setting, [
  inject('unknown ethertype', unknownEthertype()),
  inject('IPv4, unknown protocol', ipFrame(200, 40)),
  inject('ICMP echo of 56 B, answered', icmpEcho(new Uint8Array(56))),
  inject('TCP without a connection, no payload', segment(0)),
  inject('TCP without a connection, 1460 B, checksum verified', segment(1460)),
  inject('TCP without a connection, 1460 B, checksum trusted', segment(1460), true),
]);
