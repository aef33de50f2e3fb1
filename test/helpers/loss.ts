// Random loss on the wire, made in one namespace for both directions by nftables.
//
// It is not made in the namespace of lunet: XDP takes frames before nftables sees them. And frames that go out are not
// dropped but sent to an interface that leads nowhere: TCP is told of a drop in its own host, by any hook, and takes it
// for congestion of the host instead of a loss.

import { INTERFACE, type Namespace } from './netns.js';

const NOWHERE = 'nowhere0';

export interface Loss {
  /** Frames lost so far. */
  counts(): Promise<{ incoming: number; outgoing: number }>;
}

/** Loses one TCP frame in a hundred in each direction of the namespace's interface. */
export async function loseOnePercent(namespace: Namespace): Promise<Loss> {
  const ip = (...args: string[]): Promise<unknown> => namespace.run('ip', args);
  // The peer stays down.
  await ip('link', 'add', NOWHERE, 'type', 'veth', 'peer', 'name', 'nowhere1');
  await ip('link', 'set', NOWHERE, 'up');
  // One segment a packet, so that what is lost is one frame.
  await ip('link', 'set', INTERFACE, 'gso_max_segs', '1');
  const rules = `table netdev lunet {
    counter incoming {}
    counter outgoing {}
    chain in {
      type filter hook ingress device "${INTERFACE}" priority 0;
      meta l4proto tcp numgen random mod 100 < 1 counter name incoming drop;
    }
    chain out {
      type filter hook egress device "${INTERFACE}" priority 0;
      meta l4proto tcp numgen random mod 100 < 1 counter name outgoing fwd to "${NOWHERE}";
    }
  }
  `;
  await namespace.run('nft', ['-f', '-'], { input: rules });
  const count = async (name: string): Promise<number> => {
    const { stdout } = await namespace.run('nft', ['-j', 'list', 'counter', 'netdev', 'lunet', name]);
    const { nftables } = JSON.parse(stdout) as { nftables: { counter?: { packets: number } }[] };
    return nftables.reduce((sum, item) => sum + (item.counter?.packets ?? 0), 0);
  };
  return {
    async counts() {
      return { incoming: await count('incoming'), outgoing: await count('outgoing') };
    },
  };
}
