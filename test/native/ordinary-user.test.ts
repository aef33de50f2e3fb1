// Without root and without hugepages: buffers in the Wasm memory itself.
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { until } from '../helpers/netns.js';
import { startEnd, startFails } from './end-process.js';

const folder = mkdtempSync(join(tmpdir(), 'lunet-user-'));
chmodSync(folder, 0o777);
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

const NOBODY = 65534;
const behind = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', '--'];
const env = { ...process.env, HOME: folder, XDG_RUNTIME_DIR: folder };

const frame = (i: number): string =>
  Buffer.from(Uint8Array.from({ length: 60 + 23 * i }, (_, at) => (at + i) & 0xff)).toString('hex');

async function echoOver(first: string, second: string, query: string): Promise<void> {
  const path = join(folder, `${first}-${second}.sock`);
  const options = { behind, env };
  const server = await startEnd(`memif:${path}?role=server${query}`, {
    ...options,
    ...(first === 'root' ? { behind: [] } : {}),
  });
  if (first === 'root') chmodSync(path, 0o777);
  const client = await startEnd(`memif:${path}?role=client${query}`, options);
  client.tell('collect');
  for (let i = 0; i < 50; i++) client.tell(`send ${frame(i).slice(0, 108)} ${frame(i).slice(108)}`);
  const report = await until('echoes', async () => {
    const now = await client.report();
    return now.collected.length >= 50 && now;
  });
  assert.equal(
    report.collected.map(({ hex }) => hex),
    Array.from({ length: 50 }, (_, i) => frame(i)),
  );
  assert.is(report.copied, 0);
  assert.is(report.stats.rxLent, 0);
  for (const end of [client, server]) {
    end.tell('quit');
    assert.is((await end.ended).status, 0);
  }
}

test('null: on ordinary pages as an ordinary user', async () => {
  const end = await startEnd('null:?rx=1&hugepages=forbid', { behind, env });
  const report = await until('frames', async () => {
    const now = await end.report();
    return now.frames > 1000 && now;
  });
  assert.is(report.hugepages, false);
  end.tell('quit');
  assert.is((await end.ended).status, 0);
});

test('memif: two ordinary users on ordinary pages', () => echoOver('user', 'user', '&hugepages=forbid'));

test('memif: an ordinary user’s ordinary pages with root’s hugepages', async () => {
  await echoOver('root', 'user', '');
});

test('without hugepages root’s links run on ordinary pages', async () => {
  const path = join(folder, 'forbid.sock');
  const server = await startEnd(`memif:${path}?role=server`, { env: { ...process.env, LUNET_NO_HUGE: '1' } });
  assert.is((await server.report()).hugepages, false);
  server.tell('quit');
  await server.ended;
});

test('hugepages=require says how many there are when there are too few', async () => {
  const end = await startEnd('null:?hugepages=require');
  assert.is((await end.report()).hugepages, true);
  end.tell('quit');
  await end.ended;
});

test('xdp: as an ordinary user fails with a word on rights', async () => {
  const { failed, message } = await startFails('xdp:lo?hugepages=forbid', { behind, env, zones: 12, rxZones: 8 });
  assert.ok(failed);
  assert.match(message, /root|mtu/);
});

test.run();
