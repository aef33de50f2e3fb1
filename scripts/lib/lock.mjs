// One set-up at a time: a lock file holding the owner's process id and start time (ids are reused).
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { at } from './step.mjs';

const path = at('build', 'setup.lock');

/** Start time of a process in clock ticks since boot (proc(5), /proc/pid/stat field 22), null when it is gone. */
function startTime(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null;
  } catch {
    return null;
  }
}

function owner() {
  try {
    const [pid, started] = readFileSync(path, 'utf8').split(' ');
    // Created and not yet written: its owner is between two system calls.
    if (!pid)
      return Date.now() - statSync(path).mtimeMs < 2000 ? { pid: '?', alive: true } : { pid: '?', alive: false };
    return { pid, alive: startTime(pid) === started };
  } catch {
    return null;
  }
}

/**
 * Takes the lock, waiting for a running set-up to end. It is released when this process ends.
 * Where the tree is not writable there is nothing to guard, and no lock is taken.
 */
export async function lockSetup(onWait) {
  let told = false;
  for (;;) {
    try {
      mkdirSync(at('build'), { recursive: true });
      writeFileSync(path, `${process.pid} ${startTime(process.pid)}`, { flag: 'wx' });
      process.on('exit', () => rmSync(path, { force: true }));
      return;
    } catch (error) {
      if (error.code === 'EACCES' || error.code === 'EROFS') return;
      if (error.code !== 'EEXIST') throw error;
    }
    const other = owner();
    if (other && !other.alive) {
      rmSync(path, { force: true });
    } else if (other) {
      if (!told) onWait(other.pid);
      told = true;
      await sleep(200);
    } else if (!existsSync(at('build'))) {
      throw new Error(`${at('build')} cannot be made`);
    }
  }
}
