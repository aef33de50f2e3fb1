import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as nl from '../../src/host/netlink/constants.js';
import {
  encodeAttributes,
  encodeMessage,
  parseAddress,
  parseAttributes,
  parseError,
  parseLink,
  parseMessages,
  parseNeighbour,
  parseRoute,
  u32Value,
} from '../../src/host/netlink/messages.js';
import { addressEntry, concat, type FakeEntry, linkEntry, neighbourEntry, routeEntry } from '../helpers/fake-kernel.js';
import { random as seeded } from '../helpers/random.js';

function bodyOf(entry: FakeEntry): Uint8Array {
  return concat(entry.fixed, encodeAttributes(entry.attributes));
}

function bytes(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex.replace(/\s/g, ''), 'hex'));
}

function rejects(work: () => unknown): void {
  assert.throws(work, (error: NodeJS.ErrnoException) => error.code === 'EBADMSG');
}

test('a request has the header of netlink(7) and padded attributes', () => {
  const message = encodeMessage(nl.RTM_GETLINK, nl.NLM_F_REQUEST | nl.NLM_F_ACK, 0x01020304, new Uint8Array(16), [
    { type: nl.IFLA_IFNAME, value: new Uint8Array(Buffer.from('eth0\0')) },
  ]);
  assert.equal(
    message,
    bytes(`2c000000 1200 0500 04030201 00000000
           00000000000000000000000000000000
           0900 0300 6574683000 000000`),
  );
});

test('a datagram is split into its messages', () => {
  const one = encodeMessage(24, 2, 7, bytes('0102030405'));
  const two = encodeMessage(3, 2, 7, u32Value(0));
  const messages = parseMessages(concat(one, two));
  assert.equal(
    messages.map(({ type, sequence }) => [type, sequence]),
    [
      [24, 7],
      [3, 7],
    ],
  );
  assert.is(messages[1].body.length, 4);
});

test('a datagram whose lengths do not add up is malformed', () => {
  const whole = encodeMessage(24, 2, 7, new Uint8Array(12));
  for (let length = 1; length < whole.length; length++) rejects(() => parseMessages(whole.subarray(0, length)));
  const short = whole.slice();
  short[0] = 15;
  rejects(() => parseMessages(short));
});

test('a route through a gateway is read with its metric and MTU', () => {
  // 10.20.0.0/16 via 10.0.0.254 dev 7 metric 100 mtu 1400, bytes as the kernel lays them out
  const body = bytes(`02 10 00 00 fe 03 00 01 00000000
    0800 0f00 fe000000
    0800 0100 0a140000
    0800 0600 64000000
    0c00 0800 0800 0200 78050000
    0800 0500 0a0000fe
    0800 0400 07000000`);
  const route = parseRoute(body);
  assert.is(route?.prefixLength, 112);
  assert.is(route?.metric, 100);
  assert.is(route?.mtuBytes, 1400);
  assert.is(Buffer.from(route?.destination ?? []).toString('hex'), '00000000000000000000ffff0a140000');
  assert.is(Buffer.from(route?.hops[0].gateway ?? []).toString('hex'), '00000000000000000000ffff0a0000fe');
  assert.is(route?.hops[0].index, 7);
});

test('a default route has no destination attribute and prefix length 96', () => {
  const route = parseRoute(bodyOf(routeEntry({ to: '', length: 0, via: '10.0.0.1' })));
  assert.is(route?.prefixLength, 96);
  assert.is(Buffer.from(route?.destination ?? []).toString('hex'), '00000000000000000000ffff00000000');
});

test('the hops of a multipath route keep their order', () => {
  const hops = [
    { index: 3, via: '10.3.0.1', flags: 1 },
    { index: 7, via: '10.7.0.1' },
  ];
  const route = parseRoute(bodyOf(routeEntry({ to: '10.9.0.0', length: 16, hops })));
  assert.equal(
    route?.hops.map((hop) => [hop.index, hop.flags, hop.gateway?.at(13)]),
    [
      [3, 1, 3],
      [7, 0, 7],
    ],
  );
});

test('a link tells its name, MAC, MTU and kind', () => {
  const link = parseLink(bodyOf(linkEntry({ mac: [2, 1, 2, 3, 4, 5], mtu: 9000 })));
  assert.equal([link.name, link.mtuBytes, link.kind, [...link.mac]], ['eth0', 9000, 'veth', [2, 1, 2, 3, 4, 5]]);
});

test('an address on a point-to-point interface is the local one', () => {
  const entry = addressEntry('10.0.0.1', 32);
  const peer = { type: nl.IFA_ADDRESS, value: Uint8Array.of(10, 0, 0, 2) };
  const address = parseAddress(bodyOf({ ...entry, attributes: [peer, entry.attributes[1]] }));
  assert.is(address?.address.at(15), 1);
  assert.is(address?.prefixLength, 128);
});

test('entries of other families are passed over', () => {
  const bridge = neighbourEntry('10.0.0.1', nl.NUD_REACHABLE, [2, 0, 0, 0, 0, 9]);
  bridge.fixed[0] = 7;
  assert.is(parseNeighbour(bodyOf(bridge)), null);
});

test('an address whose length is not its family’s is malformed', () => {
  const entry = neighbourEntry('10.0.0.1', nl.NUD_REACHABLE, null);
  rejects(() => parseNeighbour(bodyOf({ ...entry, attributes: [{ type: nl.NDA_DST, value: new Uint8Array(5) }] })));
  const long = addressEntry('10.0.0.1', 33);
  rejects(() => parseAddress(bodyOf(long)));
});

test('an error carries its errno and the kernel’s words', () => {
  const request = new Uint8Array(16);
  const attribute = encodeAttributes([
    { type: nl.NLMSGERR_ATTR_MSG, value: new Uint8Array(Buffer.from('No such device\0')) },
  ]);
  const message = {
    type: nl.NLMSG_ERROR,
    flags: nl.NLM_F_CAPPED | nl.NLM_F_ACK_TLVS,
    sequence: 1,
    portId: 1,
    body: concat(u32Value(-19), request, attribute),
  };
  assert.equal(parseError(message), { errno: 19, text: 'No such device' });
  assert.equal(parseError({ ...message, flags: 0 }), { errno: 19, text: '' });
});

test('truncated and mutated messages are malformed or read, and never anything else', () => {
  const random = seeded(20);
  const parsers = [parseLink, parseAddress, parseRoute, parseNeighbour, (body: Uint8Array) => parseAttributes(body, 0)];
  const hops = [
    { index: 3, via: '10.3.0.1' },
    { index: 7, via: '10.7.0.1' },
  ];
  const seeds = [
    linkEntry(),
    addressEntry('10.0.0.1', 24),
    routeEntry({ to: '10.0.0.0', length: 8, via: '10.0.0.1', metric: 5, mtu: 1400 }),
    routeEntry({ to: '10.9.0.0', length: 16, hops }),
    neighbourEntry('10.0.0.9', nl.NUD_STALE, [2, 0, 0, 0, 0, 9]),
  ].map(bodyOf);
  for (let round = 0; round < 40_000; round++) {
    const body = seeds[round % seeds.length].slice(0, random.below(seeds[round % seeds.length].length + 1));
    for (let flips = random.below(4); flips > 0 && body.length > 0; flips--) {
      body[random.below(body.length)] = random.below(256);
    }
    for (const parse of parsers) {
      try {
        parse(body);
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code !== 'EBADMSG') throw error;
      }
    }
  }
});

test.run();
