// Runs attacks, and says what became of them.
import type { CoreBuild, CoreConfig } from '../core/core.js';
import * as L from '../core/layout.js';
import type { Held } from './world.js';
import { World } from './world.js';

export interface Attack {
  readonly name: string;
  /** What is tried, in a line. */
  readonly about: string;
  /** Settings of the server. */
  readonly config?: Partial<CoreConfig>;
  readonly prefixLength?: number;
  /** Over IPv6. */
  readonly six?: boolean;
  /** What a turn takes; for attacks that last long. */
  readonly stepUs?: number;
  /** Counters of the server to show, CNT_…. */
  readonly counters: readonly number[];
  /** The least share of the RPCs and openings of quiet times that must go on. Default 0.95. */
  readonly least?: number;
  /** New connections may fail while it lasts: only those that are open are promised anything. */
  readonly shutsOut?: boolean;
  /** `full`: many times as many frames. */
  run(world: World, full: boolean): void;
}

export interface AttackResult {
  readonly name: string;
  readonly about: string;
  /** Virtual seconds, hostile frames, and frames that the server has sent to the attacker or those he pretended to be. */
  readonly seconds: number;
  readonly frames: number;
  readonly answers: number;
  /** RPCs a second on one connection, before and during. */
  readonly rpcBefore: number;
  readonly rpcDuring: number;
  /** New connections during the attack, those whose RPC was answered, and the slowest of them, ms. */
  readonly opened: number;
  readonly done: number;
  readonly slowestMs: number;
  readonly held: Held;
  /** CPU time of the core and the server's application for a hostile frame, the median of all bursts. */
  readonly nsPerFrame: number;
  readonly counters: Readonly<Record<string, number>>;
  /** What should have held and did not. */
  readonly failures: readonly string[];
}

const QUIET_TURNS = 1000;
const AFTER_US = 100_000;

export interface RunOptions {
  seed?: number;
  full?: boolean;
  build?: CoreBuild;
}

export function runAttack(attack: Attack, options: RunOptions = {}): AttackResult {
  const { seed = 1, full = false, build } = options;
  const world = new World({
    seed,
    ...(attack.config ? { config: attack.config } : {}),
    ...(attack.prefixLength === undefined ? {} : { prefixLength: attack.prefixLength }),
    ...(attack.six ? { six: true } : {}),
    ...(attack.stepUs === undefined ? {} : { stepUs: attack.stepUs }),
    ...(build ? { build } : {}),
  });
  const { legitimate } = world;
  // Handshake and slow start first.
  world.pass(100 * world.stepUs);
  const quiet = legitimate.rpcs;
  world.pass(QUIET_TURNS * world.stepUs);
  const rpcBefore = (legitimate.rpcs - quiet) / ((QUIET_TURNS * world.stepUs) / 1e6);

  const startUs = world.nowUs;
  const { rpcs, opened, done } = legitimate;
  legitimate.slowestUs = 0;
  attack.run(world, full);
  const seconds = Math.max(world.nowUs - startUs, 1) / 1e6;
  const rpcDuring = (legitimate.rpcs - rpcs) / seconds;
  world.look();
  const least = attack.least ?? 0.95;
  world.expect(rpcDuring >= least * rpcBefore, `${rpcDuring.toFixed(0)} RPC/s, before it were ${rpcBefore.toFixed(0)}`);
  world.expect(legitimate.ended === '', `the legitimate connection has ended: ${legitimate.ended}`);
  world.expect(legitimate.forged === 0, `${legitimate.forged} forged bytes`);
  const openedDuring = legitimate.opened - opened;
  if (!attack.shutsOut) {
    // Those that are under way when it ends have time to.
    legitimate.opens = false;
    world.pass(AFTER_US);
    world.expect(legitimate.failed === 0, `${legitimate.failed} of ${openedDuring} new connections failed`);
    world.expect(legitimate.done === legitimate.opened, `${legitimate.opened - legitimate.done} new connections hang`);
  }
  const result = {
    name: attack.name,
    about: attack.about,
    seconds,
    frames: world.frames,
    answers: world.answers,
    rpcBefore,
    rpcDuring,
    opened: openedDuring,
    done: legitimate.done - done,
    slowestMs: legitimate.slowestUs / 1000,
    held: { ...world.most },
    nsPerFrame: world.nsPerFrame(),
    counters: Object.fromEntries(attack.counters.map((index) => [L.counterNames[index] ?? '', world.count(index)])),
  };
  world.end();
  return { ...result, failures: world.failures };
}

/** A table of what happened, in Markdown. */
export function attackMarkdown(results: readonly AttackResult[]): string {
  const share = (r: AttackResult): string => `${((100 * r.rpcDuring) / r.rpcBefore).toFixed(0)} %`;
  const rows = results.map((r) => [
    r.name,
    String(r.frames),
    `${r.rpcDuring.toFixed(0)} (${share(r)})`,
    `${r.done} of ${r.opened}, ${r.slowestMs.toFixed(1)} ms`,
    `${r.held.zbuf} / ${r.held.rx} / ${r.held.records} / ${r.held.slots}`,
    r.nsPerFrame.toFixed(0),
    Object.entries(r.counters)
      .map(([name, value]) => `${name} ${value}`)
      .join(', '),
    r.failures.length === 0 ? 'holds' : r.failures.join('; '),
  ]);
  const head = [
    'attack',
    'hostile frames',
    'RPC/s during it (of before)',
    'new connections served, the slowest',
    'held at most: Zbuf / receive objects / records / slots',
    'CPU ns per frame',
    'counters',
    'verdict',
  ];
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}
