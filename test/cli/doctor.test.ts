// lunet doctor as a user runs it: through the launcher, reading its output and exit status.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

interface Report {
  readonly fullPath: boolean;
  readonly findings: Record<string, { name: string; ok: boolean; required: boolean; detail: string; fix: string }>;
}

const launcher = fileURLToPath(new URL('../../../bin/lunet.mjs', import.meta.url));

function doctor(args: string[], env: Record<string, string> = {}) {
  return spawnSync(process.execPath, [launcher, 'doctor', ...args], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
}

test('--json prints JSON alone, and the exit status says whether the full path can run', () => {
  const { status, stdout, stderr } = doctor(['--json']);
  const report = JSON.parse(stdout) as Report;
  const missing = Object.values(report.findings).filter((finding) => finding.required && !finding.ok);
  assert.is(stderr, '');
  assert.is(report.fullPath, missing.length === 0);
  assert.is(status, report.fullPath ? 0 : 1);
});

test('whatever is not ok has a cause and a way to get it', () => {
  const report = JSON.parse(doctor(['--json']).stdout) as Report;
  for (const { name, ok, detail, fix } of Object.values(report.findings)) {
    assert.ok(detail.length > 0, name);
    assert.is(fix === '', ok, name);
  }
});

test('without DPDK the full path cannot run, and the table says how to get it', () => {
  const { status, stdout } = doctor([], { PKG_CONFIG_LIBDIR: '/nonexistent', PKG_CONFIG_PATH: '' });
  assert.is(status, 1);
  assert.match(stdout, /^MISSING {2}DPDK .*\n +→ .*libdpdk-dev/m);
  assert.match(stdout, /The full path cannot run: .*DPDK/);
});

test('an argument it does not know is a misuse', () => {
  const { status, stdout, stderr } = doctor(['--jsno']);
  assert.is(status, 2);
  assert.is(stdout, '');
  assert.match(stderr, /--jsno/);
});

test.run();
