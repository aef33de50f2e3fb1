// The UDP API: two applications that call anything with anything at any time, from inside the inline callback too, while
// frames between their cores are lost or come late, and rings and memory run full.
import { someConfig, someUdpConfig } from '../config.js';
import { assertEmpty, type Cores, introduce } from '../cores.js';
import { ADDRESSES, MACS } from '../middle/app.js';
import type { TapeReader } from '../tape.js';
import type { Target } from '../target.js';
import { UdpApp } from '../udp/app.js';

/** Datagrams whose fragments did not all arrive are given up by then. */
const END_US = 61_000_000;

class Side {
  readonly app: UdpApp;
  readonly host: ReturnType<Cores['open']>;

  constructor(r: TapeReader, cores: Cores, side: number) {
    const config = { ...someConfig(r), ...someUdpConfig(r), mac: MACS[side] };
    this.host = cores.open(config, (...event) => void this.app.event(...event), ADDRESSES[side]);
    this.app = new UdpApp(r, cores, this.host, ADDRESSES[side], ADDRESSES[1 - side]);
    introduce(this.host.core, ADDRESSES[1 - side], MACS[1 - side]);
    this.app.begin();
  }
}

export const datagrams: Target = {
  name: 'datagrams',
  purpose: 'any call of UDP with any arguments, from callbacks too, while memory and rings run full',
  steps: 300,
  mostSteps: 1000,
  inputs: 200,
  reaches: [
    'UdpInDatagrams',
    'UdpNoPorts',
    'UdpOutDatagrams',
    'UdpRcvbufErrors',
    'UdpMemErrors',
    'UdpSndbufErrors',
    'IpFragOKs',
    'IpReasmOKs',
    'IcmpOutDestUnreachs',
    'IcmpInDestUnreachs',
    'ZbufMisuse',
  ],
  run(tape, cores) {
    if (!tape.next()) return;
    const sides = [new Side(tape, cores, 0), new Side(tape, cores, 1)];
    let nowUs = 1_000_000;
    while (tape.next()) {
      const { app } = sides[tape.below(2)];
      for (let left = tape.pick([1, 2, 8]); left > 0; left--) app.act();
      nowUs += tape.pick([0, 10, 5000, 1_000_000]);
      for (const [i, { host }] of sides.entries()) {
        host.nowUs = nowUs;
        host.poll();
        // A slow link leaves frames in the ring, a bad one loses them.
        if (tape.oneIn(3)) continue;
        const frames = host.take();
        for (const frame of frames) cores.note(frame);
        if (!tape.oneIn(8)) sides[1 - i].host.inject(...frames.slice(0, 200));
      }
      for (const { host, app } of sides) if (!tape.oneIn(4)) for (const event of host.events()) app.event(...event);
    }
    for (const { app } of sides) app.leave();
    for (const { host } of sides) {
      host.nowUs = nowUs + END_US;
      host.take();
      host.poll();
      host.events();
      host.take();
      assertEmpty(host);
    }
  },
};
