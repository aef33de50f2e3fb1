// Several threads of one process, each with a link, a memory and rings of its own.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { until } from '../helpers/netns.js';
import { openEnd } from './ring-end.js';

const folder = mkdtempSync(join(tmpdir(), 'lunet-worker-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

const freePages = (): number =>
  Number(readFileSync('/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages', 'utf8'));

/** DPDK keeps a page or two of its own heap, for what its drivers allocate once. */
const HEAP_PAGES = 4;

type Answer = { frames: number; stats: Record<string, number> };

async function start(uri: string, role: 'echo' | 'count'): Promise<Worker> {
  const worker = new Worker(new URL('./programs/worker.js', import.meta.url), { workerData: { uri, role } });
  await new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
  return worker;
}

function ask(worker: Worker, what: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.postMessage(what);
  });
}

test('two threads talk over memif inside one process', async () => {
  const pages = freePages();
  const path = join(folder, 'pair.sock');
  const server = await start(`memif:${path}?role=server`, 'echo');
  const client = await start(`memif:${path}?role=client`, 'count');
  await until('echoes', async () => (await ask(client, 'report')).frames > 10_000);
  await ask(client, 'close');
  await ask(server, 'close');
  await Promise.all([server.terminate(), client.terminate()]);
  assert.ok(freePages() >= pages - HEAP_PAGES);
  assert.not.ok(existsSync(path));
});

test('threads come and go beside one that stays', async () => {
  const pages = freePages();
  const stays = await openEnd('null:?rx=1');
  for (let i = 0; i < 5; i++) {
    const workers = await Promise.all([start('null:?rx=1', 'echo'), start('null:?rx=1', 'echo')]);
    for (const worker of workers) assert.ok((await ask(worker, 'report')).frames >= 0);
    stays.turn();
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
  assert.is(stays.turn().length, 32);
  stays.close();
  assert.ok(freePages() >= pages - HEAP_PAGES);
});

test('a thread that is terminated in its burst, or asleep, leaves nothing', async () => {
  const pages = freePages();
  const path = join(folder, 'gone.sock');
  for (const state of ['report', 'sleep']) {
    const server = await start(`memif:${path}?role=server`, 'echo');
    const client = await start(`memif:${path}?role=client`, 'count');
    await until('echoes', async () => (await ask(client, 'report')).frames > 100);
    await ask(server, state);
    await server.terminate();
    await client.terminate();
    assert.not.ok(existsSync(path));
    assert.ok(freePages() >= pages - HEAP_PAGES);
  }
});

test.run();
