import type { Mode, Placement, StackName } from './types.js';

// Which CPUs the lanes of a run have, and whether they are enough.

/** CPUs of a lane's server and client; undefined: not pinned. */
export function laneCpus(
  placement: Placement,
  index: number,
  cpus: readonly number[],
): { server: number | undefined; client: number | undefined } {
  const at = (turn: number): number | undefined => cpus[turn % cpus.length];
  return placement === 'two CPUs'
    ? { server: at(2 * index), client: at(2 * index + 1) }
    : { server: at(index), client: at(index) };
}

/**
 * What is to be said of threads that share CPUs against their placement. Ends that wait may share one, and do so on `one CPU`;
 * who polls keeps others from it.
 * @param allowed CPUs there are for a run that pins nothing.
 */
export function cpuWarning(
  { stack, mode, placement }: { stack: StackName; mode: Mode; placement: Placement },
  threads: number,
  cpus: readonly number[],
  allowed: number,
): string | undefined {
  const polls = stack === 'lunet' || mode === 'busy';
  if (!polls && threads === 1) return undefined;
  const together = placement === 'one thread' || (placement === 'one CPU' && !polls);
  const wanted = threads * (together ? 1 : 2);
  const used = Array.from({ length: threads }, (_, index) => laneCpus(placement, index, cpus));
  const found = cpus.length === 0 ? allowed : new Set(used.flatMap(({ server, client }) => [server, client])).size;
  if (wanted <= found) return undefined;
  const have = `${wanted} ${polls ? 'polling threads' : 'threads'} on ${found} ${found === 1 ? 'CPU' : 'CPUs'}`;
  return polls
    ? `${have}: pollers that share a CPU wait for each other, and the figures say nothing about scaling`
    : `${have}: the figures say nothing about scaling`;
}
