import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { macFrom } from '../../src/host/link/dpdk.js';
import { parseLinkUri } from '../../src/host/link/uri.js';

function rejects(uri: string, word: RegExp): void {
  try {
    parseLinkUri(uri);
  } catch (error) {
    assert.is((error as { code?: string }).code, 'ERR_LUNET_URI', uri);
    assert.match((error as Error).message, word);
    return;
  }
  assert.unreachable(`${uri} was accepted`);
}

test('each scheme is read with its parameters', () => {
  const memif = parseLinkUri('memif:/run/a.sock?role=client&id=3&rings=12&bsize=4096&mtu=3000&mac=02:00:00:00:00:09');
  assert.equal(memif, {
    uri: 'memif:/run/a.sock?role=client&id=3&rings=12&bsize=4096&mtu=3000&mac=02:00:00:00:00:09',
    scheme: 'memif',
    target: '/run/a.sock',
    role: 'client',
    id: 3,
    rings: 12,
    slotBytes: 4096,
    stream: 'auto',
    mtu: 3000,
    mac: new Uint8Array([2, 0, 0, 0, 0, 9]),
    burstFrames: 32,
    rxDescriptors: null,
    txDescriptors: null,
    hugepages: 'auto',
    offloads: { csum: true, tso: true, gso: true, gro: true },
  });
  const xdp = parseLinkUri('xdp:eth0?ports=8080,53/udp,61440-65535/tcp,6000-6010/udp&queue=2&copy=1&burst=64');
  assert.is(xdp.scheme, 'xdp');
  if (xdp.scheme !== 'xdp') return;
  assert.equal(xdp.ports, {
    tcp: [
      [8080, 8080],
      [61440, 65535],
    ],
    udp: [
      [53, 53],
      [6000, 6010],
    ],
  });
  assert.is(xdp.queue, 2);
  assert.is(xdp.forceCopy, true);
  assert.is(xdp.burstFrames, 64);
  const pcap = parseLinkUri('pcap:?rx=a.pcap&tx=b.pcap');
  assert.equal(pcap.scheme === 'pcap' && [pcap.rxFile, pcap.txFile], ['a.pcap', 'b.pcap']);
  const one = parseLinkUri('pcap:in.pcap');
  assert.equal(one.scheme === 'pcap' && [one.rxFile, one.txFile], ['in.pcap', null]);
  const source = parseLinkUri('null:?rx=1&size=1500');
  assert.equal(source.scheme === 'null' && [source.source, source.sourceBytes], [true, 1500]);
  for (const uri of ['packet:eth0', 'tap:lunet0', 'pci:0000:01:00.0', 'pci:01:00.0', 'null:', 'memory:x', 'memory:']) {
    assert.is(parseLinkUri(uri).uri, uri);
  }
});

test('ports left open are null, not a default', () => {
  const parsed = parseLinkUri('xdp:eth0');
  assert.is(parsed.scheme === 'xdp' && parsed.ports, null);
});

test('a memory link takes its options from the URI', () => {
  const parsed = parseLinkUri('memory:hub?mtu=9000&mac=02:00:00:00:00:01&burst=8');
  const wire = { csum: false, tso: false, gso: true, gro: true };
  const memory = { burstFrames: 8, mtu: 9000, mac: '02:00:00:00:00:01', ...wire };
  assert.equal(parsed.scheme === 'memory' && parsed.memory, memory);
});

test('each offload is switched by its parameter, on any link', () => {
  for (const uri of [
    'memif:/x?role=client&',
    'xdp:eth0?',
    'packet:eth0?',
    'tap:t0?',
    'pcap:f?',
    'null:?',
    'memory:m?',
    'loopback:?',
  ]) {
    const { offloads } = parseLinkUri(`${uri}csum=off&tso=off&gso=off&gro=off`);
    assert.equal(offloads, { csum: false, tso: false, gso: false, gro: false }, uri);
    assert.is(parseLinkUri(`${uri}gro=off`).offloads.gso, true, uri);
  }
  assert.equal(parseLinkUri('memory:m?csum=on&tso=on').offloads, { csum: true, tso: true, gso: true, gro: true });
  assert.equal(parseLinkUri('loopback:').offloads, { csum: true, tso: false, gso: true, gro: true });
  rejects('memory:m?tso=on', /csum=on/);
  rejects('loopback:?tso=on', /no tso/);
  rejects('tap:t0?tso=1', /tso must be on or off/);
});

test('what is wrong is named', () => {
  rejects('', /no link URI/);
  rejects('eth0', /no link URI/);
  rejects('10.0.0.1:80', /address/);
  rejects('ether:eth0', /no link URI/);
  rejects('memif:', /path/);
  rejects('memif:/x', /role/);
  rejects('memif:/x?role=master', /role/);
  rejects(`memif:/${'x'.repeat(120)}?role=server`, /107/);
  rejects('memif:/a,b?role=server', /,/);
  rejects('memif:/x?role=server&rings=20', /rings/);
  rejects('memif:/x?role=server&colour=red', /colour/);
  rejects('memif:/x?role=server&mtu=1500&mtu=1400', /twice/);
  rejects('xdp:', /interface/);
  rejects('xdp:averyveryverylongname', /interface name/);
  rejects('xdp:eth 0', /interface name/);
  rejects('xdp:eth0?ports=', /ports is empty/);
  rejects('xdp:eth0?ports=0', /ports/);
  rejects('xdp:eth0?ports=70000', /ports/);
  rejects('xdp:eth0?ports=90-80', /ports/);
  rejects('xdp:eth0?ports=80,,81', /ports/);
  rejects('xdp:eth0?ports=80/sctp', /ports/);
  rejects('xdp:eth0?mac=02:00:00:00:00:01', /mac/);
  rejects('tap:x?mtu=-1', /mtu/);
  rejects('tap:x?mtu=1e3', /mtu/);
  rejects('tap:x?mtu=100', /576/);
  rejects('tap:x?mac=nonsense', /mac/);
  rejects('tap:x?mac=01:00:00:00:00:01', /multicast/);
  rejects('tap:x?burst=0', /burst/);
  rejects('pcap:', /file/);
  rejects('null:name', /name/);
  rejects('pci:eth0', /PCI/);
  rejects('null:?hugepages=maybe', /hugepages/);
});

test('an address made from a name is local, unicast and always the same', () => {
  const mac = macFrom('memif:/x#0/server');
  assert.equal(mac, macFrom('memif:/x#0/server'));
  assert.not.equal(mac, macFrom('memif:/x#0/client'));
  assert.is(mac[0] & 3, 2);
});

test.run();
