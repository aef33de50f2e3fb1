// Which ports of a bifurcated link are lunet's: TCP's and UDP's apart, while a socket has them.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Link, Protocol } from '../../src/host/link/link.js';
import { createPortKeeper } from '../../src/host/traffic/steering.js';

type Steered = ReturnType<NonNullable<Link['steeredPorts']>>;

/** A link that notes what is steered. */
function fakeLink(of: Record<Protocol, Steered>): { link: Link; steered: string[] } {
  const steered: string[] = [];
  const link = {
    steer: (protocol: Protocol, port: number, on: boolean) => steered.push(`${protocol} ${port} ${on}`),
    steeredPorts: (protocol: Protocol) => of[protocol],
  };
  return { link: link as unknown as Link, steered };
}

test('a port is steered while a socket has it, and with those that share it until the last one is gone', () => {
  const { link, steered } = fakeLink({ tcp: 'dynamic', udp: 'dynamic' });
  const ports = createPortKeeper(link);
  assert.ok(ports.mayUse('udp', 53));
  assert.equal([...ports.choices('udp')], [0]);
  ports.take(1, 'udp', 53);
  ports.take(2, 'udp', 53);
  ports.take(3, 'tcp', 53);
  ports.leave(1);
  ports.leave(3);
  assert.equal(steered, ['udp 53 true', 'udp 53 true', 'tcp 53 true', 'tcp 53 false']);
  ports.leave(2);
  ports.leave(2);
  assert.equal(steered.slice(4), ['udp 53 false']);
});

test('with ports= there are those and no others, of each protocol its own', () => {
  const { link, steered } = fakeLink({
    tcp: [[8080, 8080]],
    udp: [
      [53, 53],
      [6000, 6002],
    ],
  });
  const ports = createPortKeeper(link);
  assert.equal([ports.mayUse('udp', 53), ports.mayUse('udp', 8080), ports.mayUse('tcp', 53)], [true, false, false]);
  assert.equal([...ports.choices('udp')].sort(), [53, 6000, 6001, 6002]);
  ports.take(1, 'udp', 53);
  ports.leave(1);
  assert.equal(steered, [], 'they are steered as long as the link is open');
  assert.equal([...createPortKeeper(fakeLink({ tcp: 'any', udp: [] }).link).choices('udp')], []);
});

test('a link that nobody shares has every port', () => {
  const ports = createPortKeeper({} as Link);
  assert.ok(ports.mayUse('udp', 1));
  assert.equal([...ports.choices('tcp')], [0]);
  ports.take(1, 'udp', 53);
  ports.leave(1);
});

test.run();
