import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  countPorts,
  formatPorts,
  hasPort,
  intersectPorts,
  type PortRange,
  parsePorts,
  splitRange,
  subtractPorts,
} from '../../src/host/traffic/ports.js';
import { reservePorts } from '../../src/host/traffic/reserve.js';
import { random as seeded } from '../helpers/random.js';

test('a set of ports is sorted and merged', () => {
  assert.is(formatPorts(parsePorts('443, 80-90,85-100,101,61440-65535')), '80-101,443,61440-65535');
});

test('what is no port is refused with the part that is wrong', () => {
  for (const text of ['', '0', '65536', '90-80', 'http', '80,', '1-2-3', '-5', '1.5']) {
    assert.throws(
      () => parsePorts(text),
      (error: NodeJS.ErrnoException) => error.code === 'ERR_SOCKET_BAD_PORT',
      text,
    );
  }
});

test('set operations agree with sets of numbers', () => {
  const random = seeded(11);
  const ranges = (): string =>
    Array.from({ length: 1 + random.below(5) }, () => {
      const first = 1 + random.below(60);
      return `${first}-${first + random.below(9)}`;
    }).join(',');
  const members = (text: string): Set<number> => {
    const all = new Set<number>();
    for (const [first, last] of parsePorts(text)) for (let port = first; port <= last; port++) all.add(port);
    return all;
  };
  for (let round = 0; round < 500; round++) {
    const a = ranges();
    const b = ranges();
    const inA = members(a);
    const inB = members(b);
    const without = subtractPorts(parsePorts(a), parsePorts(b));
    const both = intersectPorts(parsePorts(a), parsePorts(b));
    assert.is(countPorts(parsePorts(a)), inA.size);
    for (let port = 1; port < 80; port++) {
      const text = `${a} and ${b} at ${port}`;
      assert.is(hasPort(parsePorts(a), port), inA.has(port), text);
      assert.is(hasPort(without, port), inA.has(port) && !inB.has(port), text);
      assert.is(hasPort(both, port), inA.has(port) && inB.has(port), text);
    }
  }
});

test('a range is split into contiguous parts of nearly one size', () => {
  for (const parts of [1, 3, 7, 12, 4096]) {
    const split: PortRange[] = splitRange([61440, 65535], parts);
    assert.is(split[0][0], 61440);
    assert.is(split[parts - 1][1], 65535);
    const sizes = split.map(([first, last]) => last - first + 1);
    assert.ok(Math.max(...sizes) - Math.min(...sizes) <= 1);
    for (let part = 1; part < parts; part++) assert.is(split[part][0], split[part - 1][1] + 1);
  }
  assert.throws(
    () => splitRange([1, 2], 3),
    (error: NodeJS.ErrnoException) => error.code === 'ERR_OUT_OF_RANGE',
  );
});

test('reserving adds to what is reserved and gives back only that', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lunet-ports-'));
  const path = join(folder, 'reserved');
  try {
    writeFileSync(path, '80,61440-61450\n');
    const release = reservePorts(parsePorts('61440-65535'), path);
    assert.is(readFileSync(path, 'utf8'), '80,61440-65535\n');
    release();
    assert.is(readFileSync(path, 'utf8'), '80,61440-61450\n');
    writeFileSync(path, '\n');
    reservePorts(parsePorts('5000'), path)();
    assert.is(readFileSync(path, 'utf8'), '\n');
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test.run();
