// The attacker's ends of connections: by hand, a segment at a time, and never as a TCP would.
import * as L from '../core/layout.js';
import type { TcpOption } from '../script/ast.js';
import { ACK, type Answer, ATTACKER_IP, readAnswer, type Shape, SYN, segment } from './frames.js';
import type { World } from './world.js';

export interface EnemyOptions {
  readonly port: number;
  readonly srcPort: number;
  readonly src?: readonly number[];
  /** As the field has it. */
  readonly window?: number;
  readonly options?: readonly TcpOption[];
}

export interface Enemy {
  readonly port: number;
  readonly srcPort: number;
  /** Next to send, and next expected. */
  seq: number;
  ack: number;
  /** A segment of this connection; numbers and window are the right ones unless given. */
  frame(shape?: Partial<Shape>): Uint8Array;
}

/** With what came with the handshake. */
export type OpenEnemy = Enemy & { readonly first: readonly Answer[] };

/** Runs `work` and returns what the server has answered to anybody but the client. */
export function answersTo(world: World, work: () => void): Answer[] {
  const before = world.onAnswer;
  const answers: Answer[] = [];
  world.onAnswer = (frame) => {
    const answer = readAnswer(frame);
    if (answer) answers.push(answer);
    before?.(frame);
  };
  work();
  world.onAnswer = before;
  return answers;
}

/** Opens a connection. Null when the server does not answer. What it sends with the handshake is in `first`. */
export function openEnemy(world: World, options: EnemyOptions): OpenEnemy | null {
  const { port, srcPort, src = ATTACKER_IP, window = 65535 } = options;
  const own = { src, srcPort, dstPort: port, window };
  const iss = world.r.u32();
  const syn = segment({ ...own, seq: iss, flags: SYN, options: options.options ?? [] });
  const [answer] = answersTo(world, () => world.hostile(syn)).filter((one) => one.dstPort === srcPort);
  if (!answer || (answer.flags & (SYN | ACK)) !== (SYN | ACK)) return null;
  const enemy: Enemy = {
    port,
    srcPort,
    seq: (iss + 1) >>> 0,
    ack: (answer.seq + 1) >>> 0,
    frame: (shape = {}) => segment({ ...own, seq: enemy.seq, ack: enemy.ack, flags: ACK, ...shape }),
  };
  const stamps: TcpOption[] =
    answer.stamp === 0 ? [] : [{ kind: 'nop' }, { kind: 'nop' }, { kind: 'TS', val: 1, ecr: answer.stamp }];
  const first = answersTo(world, () => world.hostile(enemy.frame({ options: stamps })));
  return Object.assign(enemy, { first });
}

/** What somebody on the path knows of a connection between the client and the server. */
export interface Watched {
  readonly clientPort: number;
  readonly serverPort: number;
  /** The client's next number, and the server's. */
  clientSeq: number;
  serverSeq: number;
  /** Frames of it in both directions. */
  frames: number;
}

/** Follows the client's connection with this handle from now on. */
export function watch(world: World, handle: number): Watched {
  const { core } = world.client;
  core.info(handle, core.scratch);
  const clientPort = core.dv.getUint32(core.scratch + L.INFO_local_port, true);
  const serverPort = core.dv.getUint32(core.scratch + L.INFO_remote_port, true);
  const watched: Watched = { clientPort, serverPort, clientSeq: 0, serverSeq: 0, frames: 0 };
  const before = world.onPath;
  world.onPath = (frame, toServer) => {
    const seen = readAnswer(frame);
    if (seen && (toServer ? seen.srcPort : seen.dstPort) === clientPort) {
      watched.frames++;
      const next = (seen.seq + seen.length + (seen.flags & 3 ? 1 : 0)) >>> 0;
      if (toServer) watched.clientSeq = next;
      else watched.serverSeq = next;
    }
    return before ? before(frame, toServer) : frame;
  };
  return watched;
}
