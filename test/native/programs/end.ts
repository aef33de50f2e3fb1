// One end of a link as a process of its own, told what to do by lines on standard input; answers are JSON lines.
//
//   node end.js URI [zones rxZones]
//
//   echo        send every frame back as it came (default)
//   swap        as echo, with the Ethernet, IPv4 and TCP source and destination exchanged
//   collect     keep the frames
//   send HEX…   send a frame, its segments separated by blanks
//   message HEX send a frame of one segment in which payload follows headers of 54 bytes
//   sleep       from now on, sleep on the link whenever nothing comes
//   report      → { frames, collected, stats, copied, completed, wakeups, canSleep, cpuMs, … }
//   steer tcp|udp PORT ON
//   crash throw|exit|abort
//   quit        close and end
import { createInterface } from 'node:readline';
import { TXF_END, TXF_START } from '../../../src/host/core/layout.js';
import { openEnd, type RingEnd } from '../ring-end.js';

const ETH_IP_TCP = 14 | (20 << 8) | (20 << 16);

type Mode = 'echo' | 'swap' | 'collect';

const say = (message: object): void => {
  process.stdout.write(`${JSON.stringify(message)}\n`);
};

const [uri, zones, rxZones] = process.argv.slice(2);
let end: RingEnd;
try {
  end = await openEnd(uri, {
    ...(zones === undefined ? {} : { zones: Number(zones) }),
    ...(rxZones === undefined ? {} : { rxZones: Number(rxZones) }),
  });
} catch (error) {
  const { code, message } = error as { code?: string; message: string };
  say({ failed: code, message });
  process.exit(3);
}

let mode: Mode = 'echo';
let frames = 0;
let running = true;
let sleeping = false;
let wakeups = 0;
let canSleep = true;
let quietTurns = 0;
const collected: { hex: string; flags: number }[] = [];

function swapped(frame: Uint8Array): Uint8Array {
  const out = Uint8Array.from(frame);
  const exchange = (a: number, b: number, count: number): void => {
    out.set(frame.subarray(b, b + count), a);
    out.set(frame.subarray(a, a + count), b);
  };
  exchange(0, 6, 6);
  if (frame[12] === 8 && frame[13] === 0) {
    exchange(26, 30, 4);
    if (frame[23] === 6) exchange(34, 36, 2);
  }
  return out;
}

const QUIET_TURNS = 50;

/** As the loop does it: the timer only keeps the process alive. */
function rest(): void {
  quietTurns = 0;
  canSleep = end.link.armWakeup(() => {
    wakeups++;
    clearTimeout(alive);
    setImmediate(spin);
  });
  const alive = setTimeout(() => {}, 60_000);
  if (canSleep) return;
  clearTimeout(alive);
  setTimeout(spin, 1);
}

function spin(): void {
  if (!running) return;
  const before = frames;
  for (let i = 0; i < 64; i++) {
    if (mode === 'echo') {
      frames += end.echo();
      continue;
    }
    for (const { bytes, flags } of end.turn()) {
      frames++;
      if (mode === 'swap') end.send(swapped(bytes));
      else collected.push({ hex: Buffer.from(bytes).toString('hex'), flags });
    }
  }
  quietTurns = frames === before ? quietTurns + 1 : 0;
  if (sleeping && quietTurns > QUIET_TURNS) rest();
  else setImmediate(spin);
}

function report(): void {
  const { link, attachment, completed } = end;
  const { mac, driver, mtu, groHoldUs = 0 } = link.info;
  say({
    frames,
    collected,
    stats: link.stats(),
    copied: end.linkCopiedBytes(),
    completed: completed.length,
    hugepages: attachment.hugepages,
    wakeups,
    canSleep,
    cpuMs: (process.cpuUsage().user + process.cpuUsage().system) / 1000,
    info: { mac: Buffer.from(mac).toString('hex'), driver, mtu, groHoldUs },
  });
}

createInterface({ input: process.stdin })
  .on('line', (line) => {
    const [command, ...rest] = line.split(' ');
    switch (command) {
      case 'echo':
      case 'swap':
      case 'collect':
        mode = command;
        break;
      case 'send':
        end.send(...rest.map((hex) => Uint8Array.from(Buffer.from(hex, 'hex'))));
        break;
      case 'message': {
        const bytes = Uint8Array.from(Buffer.from(rest[0], 'hex'));
        end.u8.set(bytes, end.scratch);
        end.sendRaw([end.scratch, bytes.length, TXF_START | TXF_END, ETH_IP_TCP]);
        break;
      }
      case 'sleep':
        sleeping = true;
        break;
      case 'report':
        report();
        break;
      case 'steer':
        end.link.steer?.(rest[0] === 'udp' ? 'udp' : 'tcp', Number(rest[1]), rest[2] === 'true');
        break;
      case 'crash':
        if (rest[0] === 'abort') process.abort();
        if (rest[0] === 'exit') process.exit(0);
        throw new Error('on request');
      default:
        running = false;
        end.close();
        process.exit(0);
    }
  })
  .on('close', () => {
    running = false;
    end.close();
  });

say({ ready: true });
spin();
