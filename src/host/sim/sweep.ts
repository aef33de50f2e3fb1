// Goodput as a share of what theory allows, over bandwidth × delay × loss × algorithm, and how flows share a link.
// Everything in virtual time from one seed: two runs of one version print the same table.
import * as L from '../core/layout.js';
import { type CongestionName, congestionAlgorithms } from '../profiles.js';
import { bound, jainIndex } from './bounds.js';
import { type BulkOptions, measure, openBulk } from './bulk.js';

export interface SweepOptions {
  seed: number;
  ratesMbps: readonly number[];
  /** Round trips of the empty path, ms. */
  rttsMs: readonly number[];
  /** Random loss, of all packets. */
  losses: readonly number[];
  algorithms: readonly CongestionName[];
  /** Segments to measure a flow for, about: bounds the time a cell takes. */
  segments: number;
}

export const quickSweep: SweepOptions = {
  seed: 1,
  ratesMbps: [10, 100, 1000],
  rttsMs: [1, 10, 80],
  losses: [0, 0.0001, 0.001, 0.01],
  algorithms: ['reno', 'cubic', 'dctcp'],
  segments: 20_000,
};

export const fullSweep: SweepOptions = {
  seed: 1,
  ratesMbps: [1, 10, 100, 1000, 10_000],
  rttsMs: [0.1, 1, 10, 40, 200],
  losses: [0, 0.00001, 0.0001, 0.001, 0.01, 0.03],
  algorithms: ['reno', 'cubic', 'dctcp'],
  segments: 200_000,
};

export interface SweepCell {
  algorithm: CongestionName;
  rateMbps: number;
  rttMs: number;
  loss: number;
  /** Payload, bits per second. */
  bps: number;
  /** Goodput over the least bound. */
  share: number;
  /** Which bound that is. */
  by: 'link' | 'window' | 'loss';
  retransmitted: number;
  timeouts: number;
}

const MTU = 1500;
const BUFFER_BYTES = 4 << 20;
const SECOND_US = 1e6;
/** Marks above RFC 8257 §4.1's K, a sixth of a bandwidth-delay product, at least a few packets. */
const markAt = (bdpPackets: number): number => Math.max(10, Math.ceil(bdpPackets / 6));

/** A bottleneck with a bandwidth-delay product of queue, at least 64 packets, and what goes wrong on the way there. */
function paths(rateBps: number, rttUs: number, loss: number, marking: boolean): Pick<BulkOptions, 'forward' | 'back'> {
  const bdpPackets = (rateBps * rttUs) / 8e6 / MTU;
  const delayUs = rttUs / 2;
  return {
    forward: {
      rateBps,
      delayUs,
      queuePackets: Math.max(64, Math.ceil(bdpPackets)),
      ...(marking ? { markPackets: markAt(bdpPackets) } : {}),
      loss: loss > 0 ? { kind: 'random', probability: loss } : null,
    },
    back: { rateBps, delayUs },
  };
}

function cell(
  options: SweepOptions,
  algorithm: CongestionName,
  rateMbps: number,
  rttMs: number,
  loss: number,
): SweepCell {
  const rateBps = rateMbps * 1e6;
  const rttUs = rttMs * 1000;
  const input = {
    rateBps,
    rttUs,
    windowBytes: BUFFER_BYTES,
    mtu: MTU,
    loss: loss > 0 ? ({ kind: 'random', probability: loss } as const) : null,
    algorithm,
  };
  const { bps: boundBps, by } = bound(input);
  const segmentUs = (MTU * 8e6) / boundBps;
  const measureUs = Math.max(options.segments * segmentUs, 40 * rttUs);
  const bulk = openBulk({
    seed: options.seed,
    ...paths(rateBps, rttUs, loss, algorithm === 'dctcp'),
    bufferBytes: BUFFER_BYTES,
    config: { congestion: congestionAlgorithms[algorithm] },
  });
  // Slow start ends far above or below what is sustained, and the way there is a segment a round trip.
  const settleRtts = 60 + (loss > 0 ? 0 : Math.min((rateBps * rttUs) / 8e6 / MTU, 800) / 2);
  const goodput = measure(bulk, Math.max(measureUs, settleRtts * rttUs), measureUs);
  bulk.close();
  const [bps] = goodput.bps;
  return {
    algorithm,
    rateMbps,
    rttMs,
    loss,
    bps,
    share: bps / boundBps,
    by,
    retransmitted: goodput.retransmitted,
    timeouts: goodput.timeouts,
  };
}

/** Runs every cell. `each` hears of one when it is done. */
export function sweep(options: SweepOptions, each: (cell: SweepCell) => void = () => {}): SweepCell[] {
  const cells: SweepCell[] = [];
  for (const algorithm of options.algorithms) {
    for (const rateMbps of options.ratesMbps) {
      for (const rttMs of options.rttsMs) {
        for (const loss of options.losses) {
          const done = cell(options, algorithm, rateMbps, rttMs, loss);
          cells.push(done);
          each(done);
        }
      }
    }
  }
  return cells;
}

export interface FairnessRow {
  /** One name, or two that alternate. */
  algorithms: readonly CongestionName[];
  flows: number;
  rateMbps: number;
  rttMs: number;
  /** All flows together over the link's rate. */
  share: number;
  jain: number;
  /** Goodput of the first algorithm's flows over that of the second's; 1 with one algorithm. */
  ratio: number;
}

const fairnessCases: readonly (readonly [CongestionName[], number])[] = [
  [['reno'], 2],
  [['reno'], 4],
  [['reno'], 8],
  [['cubic'], 2],
  [['cubic'], 4],
  [['cubic'], 8],
  [['dctcp'], 2],
  [['dctcp'], 4],
  [['dctcp'], 8],
  [['reno', 'cubic'], 2],
  [['reno', 'cubic'], 8],
];

/** Flows over one bottleneck of 50 Mbps and 20 ms, `seconds` after they have settled. */
export function fairness(seed: number, seconds = 30): FairnessRow[] {
  const rateMbps = 50;
  const rttMs = 20;
  return fairnessCases.map(([algorithms, flows]) => {
    const marking = algorithms.includes('dctcp');
    const bulk = openBulk({
      seed,
      flows,
      ...paths(rateMbps * 1e6, rttMs * 1000, 0, marking),
      bufferBytes: 1 << 20,
      congestion: algorithms.map((name) => congestionAlgorithms[name]),
      ...(marking ? { config: { tcpFlags: L.CFGF_ECN_ACCEPT | L.CFGF_TLP | L.CFGF_FRTO } } : {}),
    });
    const { bps } = measure(bulk, 10 * SECOND_US, seconds * SECOND_US);
    bulk.close();
    const sum = (of: number): number => bps.filter((_, i) => i % algorithms.length === of).reduce((a, b) => a + b, 0);
    const { bps: link } = bound({
      rateBps: rateMbps * 1e6,
      rttUs: 1,
      windowBytes: 1e9,
      mtu: MTU,
      loss: null,
      algorithm: 'reno',
    });
    return {
      algorithms,
      flows,
      rateMbps,
      rttMs,
      share: bps.reduce((a, b) => a + b, 0) / link,
      jain: jainIndex(bps),
      ratio: algorithms.length === 1 ? 1 : sum(0) / sum(1),
    };
  });
}

const percent = (share: number): string => `${(share * 100).toFixed(0)} %`;

/** The tables as Markdown. */
export function sweepMarkdown(cells: readonly SweepCell[], rows: readonly FairnessRow[]): string {
  const losses = [...new Set(cells.map((one) => one.loss))];
  const lines = [
    '# Goodput as a share of the bound',
    '',
    'One flow, MTU 1500, buffers of 4 MiB, a queue of one bandwidth-delay product (at least 64 packets); for DCTCP it marks',
    'above a sixth of that. The bound is the least of link rate (l), window over round trip (w) and the algorithm’s',
    'loss-throughput formula (p), which letter says which. Retransmitted segments in brackets.',
    '',
    `| algorithm | Mbps | RTT ms | ${losses.map((loss) => `loss ${loss * 100} %`).join(' | ')} |`,
    `|---|--:|--:|${losses.map(() => '--:').join('|')}|`,
  ];
  const letter = { link: 'l', window: 'w', loss: 'p' };
  const keys = [...new Set(cells.map((one) => `${one.algorithm} ${one.rateMbps} ${one.rttMs}`))];
  for (const key of keys) {
    const row = cells.filter((one) => `${one.algorithm} ${one.rateMbps} ${one.rttMs}` === key);
    const shown = row.map((one) => `${percent(one.share)} ${letter[one.by]} (${one.retransmitted})`);
    lines.push(`| ${row[0].algorithm} | ${row[0].rateMbps} | ${row[0].rttMs} | ${shown.join(' | ')} |`);
  }
  lines.push(
    '',
    '# Fairness',
    '',
    `Flows over one bottleneck of ${rows[0]?.rateMbps} Mbps and ${rows[0]?.rttMs} ms. Jain’s index is 1 when all get the same.`,
    '',
    '| algorithms | flows | of the link | Jain’s index | first : second |',
    '|---|--:|--:|--:|--:|',
  );
  for (const row of rows) {
    const ratio = row.algorithms.length > 1 ? row.ratio.toFixed(2) : '';
    lines.push(
      `| ${row.algorithms.join(', ')} | ${row.flows} | ${percent(row.share)} | ${row.jain.toFixed(3)} | ${ratio} |`,
    );
  }
  return `${lines.join('\n')}\n`;
}
