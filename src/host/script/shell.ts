// Shell commands of a script: those that set the stack up, those that wait, and those that only prepare a Linux host.
import { existsSync, readFileSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { Unsupported } from './ast.js';
import type { Settings } from './settings.js';
import { applySysctl } from './sysctls.js';

const SECOND_US = 1_000_000;
/** Scripts that call each other deeper than this are not set-up scripts. */
const MAX_DEPTH = 4;

export interface ShellContext {
  readonly settings: Settings;
  /** Where the script's own file is, null when it has none. */
  readonly directory: string | null;
  readonly line: number;
  /** The core is running: its link and routes cannot change any more. */
  readonly running: boolean;
}

/** What the defaults.sh that scripts run first does, for scripts that come without it. */
const DEFAULTS = `
sysctl -q net.ipv4.tcp_rmem="4096 540000 15728640"
sysctl -q net.ipv4.tcp_wmem="4096 262144 4194304"
sysctl -q net.ipv4.tcp_congestion_control=cubic
sysctl -q net.ipv4.tcp_slow_start_after_idle=0
sysctl -q net.ipv4.tcp_ecn=0
sysctl -q net.ipv4.tcp_fastopen=0x70403
`;

/** Runs one shell block. Returns the microseconds it sleeps. Throws Unsupported for what has no meaning here. */
export function applyShell(x: ShellContext, text: string): number {
  return runCommands(x, text, 0);
}

function runCommands(x: ShellContext, text: string, depth: number): number {
  let sleepUs = 0;
  for (const command of commandsOf(text)) sleepUs += runCommand(x, command, depth);
  return sleepUs;
}

/** Single commands, without comments, redirections and what follows a failure. */
function commandsOf(text: string): string[] {
  const whole = products(text.replace(/\\\n/g, ' '));
  const parts = whole.match(/(?:"(?:\\[\s\S]|[^"\\])*"|'[^']*'|\\.|&(?!&)|\|(?!\|)|#[^\n]*|[^;\n&|"'\\#])+/g) ?? [];
  return parts
    .map((part) => part.replace(/(?:^|\s)#[^\n]*$/, '').trim())
    .map((part) => part.replace(/\s+(?:[12]?>{1,2}\s*(?:\/dev\/null|&[12])|&>\s*\/dev\/null)/g, '').trim())
    .map((part) => part.replace(/^(?:sudo|\(|\{)\s+/, '').replace(/\s+[)}]$/, ''))
    .filter((part) => part !== '');
}

/** `$((15*1024*1024))` by its value. */
function products(text: string): string {
  return text.replace(/\$\(\(([\d*+\s]+)\)\)/g, (_all, sum: string) =>
    String(
      sum
        .split('+')
        .map((product) => product.split('*').reduce((total, factor) => total * Number(factor), 1))
        .reduce((total, product) => total + product, 0),
    ),
  );
}

function runCommand(x: ShellContext, command: string, depth: number): number {
  const sleep = /^(?:\/bin\/)?sleep\s+([\d.]+)(ms|s)?$/.exec(command);
  if (sleep !== null) return Number(sleep[1]) * (sleep[2] === 'ms' ? 1000 : SECOND_US);
  const usleep = /^usleep\s+(\d+)$/.exec(command);
  if (usleep !== null) return Number(usleep[1]);
  const set = assignments(command);
  if (set !== null) {
    for (const [name, value] of set) {
      try {
        applySysctl(x.settings, name, value, x.line);
      } catch (error) {
        // What a shared set-up script asks for beside the script's own concern is not the script's.
        if (depth === 0 || !(error instanceof Unsupported)) throw error;
      }
    }
    return 0;
  }
  const file = /^(?:source\s+|\.\s+|(?:\/bin\/)?(?:ba)?sh\s+)?(\S+\.sh)(?:\s|$)/.exec(command);
  if (file !== null && !harmless(command)) return runFile(x, file[1], command, depth);
  if (harmless(command) || applyRoute(x, command) || depth > 0) return 0;
  throw new Unsupported(x.line, `the shell command "${command.slice(0, 60)}"`);
}

function runFile(x: ShellContext, path: string, command: string, depth: number): number {
  const full = x.directory === null ? null : resolve(x.directory, path);
  if (full !== null && depth < MAX_DEPTH && existsSync(full)) {
    return runCommands(x, readFileSync(full, 'utf8'), depth + 1);
  }
  if (basename(path) !== 'defaults.sh') throw new Unsupported(x.line, `the shell command "${command.slice(0, 60)}"`);
  return runCommands(x, DEFAULTS, depth + 1);
}

/** `sysctl -w name=value …`, `echo value > /proc/sys/name`, and programs that take /proc/sys/name=value. */
function assignments(command: string): [string, string][] | null {
  const dotted = (path: string): string => path.replace(/^\/proc\/sys\//, '').replaceAll('/', '.');
  const plain = (value: string): string => value.replace(/^["']|["']$/g, '');
  const echo = /^echo\s+(?:-n\s+)?(.*?)\s*>\s*(\/proc\/sys\/\S+)$/.exec(command);
  if (echo !== null) return [[dotted(echo[2]), plain(echo[1])]];
  if (!/^(?:\/\S*\/)?(?:sysctl\b|\S*set_sysctls\.py\b|python3?\s+\S*set_sysctls\.py\b)/.test(command)) return null;
  const pairs = command.matchAll(/"?([A-Za-z/][\w./-]*\w)\s*=\s*("[^"]*"|'[^']*'|[^\s"']+)/g);
  return [...pairs].map((pair) => [dotted(pair[1]), plain(pair[2])]);
}

/** Commands that prepare or clean up a Linux host. */
function harmless(command: string): boolean {
  return (
    /(?:^|\/)sysctl_restore\S*/.test(command) ||
    /^(?:sysctl_restore|rm -f|modprobe|ethtool -K|ip (?:-[46] )?(?:tcp_metrics|route flush cache|addr show|link show|link set(?: dev)? \S+ (?:gso_\w+|txqueuelen)|netns)|nstat|ss\b|cat|echo(?! .*>)|true$|set [-+]|export|ulimit|tc qdisc (?:show|del)|tc qdisc (?:add|replace|change) dev \S+ root(?:$|.* (?:fq|pfifo|bfifo|pfifo_fast|fq_codel|mq|noqueue)\b))/.test(
      command,
    )
  );
}

/** `ip route change … rto_min 4ms initcwnd 20`, `ip link set tun0 mtu 1400`, `ifconfig tun0 mtu 1400`. */
function applyRoute(x: ShellContext, command: string): boolean {
  const { config } = x.settings;
  const mtu = /^(?:ip link set (?:dev )?\S+ mtu|ifconfig \S+ mtu) (\d+)$/.exec(command);
  if (mtu !== null) {
    if (x.running && config.mtu !== Number(mtu[1])) return false;
    config.mtu = Number(mtu[1]);
    return true;
  }
  if (!/^ip (?:-[46] )?route (?:change|replace|add)\b/.test(command)) return false;
  const known = command
    .replace(/\brto_min (?:lock )?(\d+)(ms|s)?/, (_all, value: string, unit?: string) => {
      config.rtoMinUs = Number(value) * (unit === 's' ? SECOND_US : 1000);
      return '';
    })
    .replace(/\binitcwnd (?:lock )?(\d+)/, (_all, value: string) => {
      config.initCwndSegments = Number(value);
      return '';
    });
  return known !== command && !/\b(?:mtu|initrwnd|advmss|quickack|cwnd|ssthresh|rtt|features|congctl)\b/.test(known);
}
