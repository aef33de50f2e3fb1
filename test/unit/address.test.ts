import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { formatMac, parseMac, parsePrefix, readAddress, writeAddress } from '../../src/host/core/address.js';

function roundTrip(text: string): string {
  const bytes = new Uint8Array(20);
  writeAddress(bytes, 2, text);
  return readAddress(bytes, 2);
}

test('an IPv4 address is stored mapped into ::ffff:0:0/96', () => {
  const bytes = new Uint8Array(16).fill(7);
  writeAddress(bytes, 0, '10.1.2.3');
  assert.equal([...bytes], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 1, 2, 3]);
});

test('addresses come back in the form of RFC 5952', () => {
  for (const [text, shown] of [
    ['0.0.0.0', '0.0.0.0'],
    ['255.1.0.9', '255.1.0.9'],
    ['::', '::'],
    ['::1', '::1'],
    ['fe80::1%eth0', 'fe80::1'],
    ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['1:0:0:0:0:0:0:0', '1::'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
  ]) {
    assert.is(roundTrip(text), shown);
  }
});

test('what is not an address is refused by code', () => {
  for (const text of ['', '10.0.0', '10.0.0.256', 'host', ':::', '1::2::3']) {
    assert.throws(
      () => roundTrip(text),
      (error: { code: string }) => error.code === 'ERR_INVALID_ADDRESS',
    );
  }
});

test('prefix lengths count in the 128-bit space', () => {
  assert.equal(parsePrefix('10.0.0.1/24'), { address: '10.0.0.1', prefixLength: 120 });
  assert.equal(parsePrefix('10.0.0.1'), { address: '10.0.0.1', prefixLength: 128 });
  assert.equal(parsePrefix('fd00::1/64'), { address: 'fd00::1', prefixLength: 64 });
  for (const text of ['10.0.0.1/33', '10.0.0.1/', '10.0.0.1/x', 'fd00::/129', '/24']) {
    assert.throws(
      () => parsePrefix(text),
      (error: { code: string }) => error.code === 'ERR_INVALID_ADDRESS',
    );
  }
});

test('a MAC address is six hexadecimal bytes', () => {
  assert.is(formatMac(parseMac('02:00:5E:00:00:0a')), '02:00:5e:00:00:0a');
  for (const text of ['', '02:00:00:00:00', '02-00-00-00-00-01', '02:00:00:00:00:0g']) {
    assert.throws(
      () => parseMac(text),
      (error: { code: string }) => error.code === 'ERR_INVALID_ADDRESS',
    );
  }
});

test.run();
