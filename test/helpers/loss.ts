// Random loss on the wire, made in one namespace for both directions by nftables.
//
// It is not made in the namespace of lunet: XDP takes frames before nftables sees them. And frames that go out are not
// dropped but sent to an interface that leads nowhere: TCP is told of a drop in its own host, by any hook, and takes it
// for congestion of the host instead of a loss.

import { INTERFACE, type Namespace } from './netns.js';

const NOWHERE = 'nowhere0';

export interface Loss {
  /** Frames lost since the rate was set. */
  counts(): Promise<{ incoming: number; outgoing: number }>;
}

export interface AdjustableLoss extends Loss {
  set(permille: number): Promise<void>;
}

/** Loses one TCP frame in a hundred in each direction of the namespace's interface. */
export function loseOnePercent(namespace: Namespace): Promise<Loss> {
  return lose(namespace, 10);
}

/** Loses TCP frames at random in each direction of the namespace's interface. @param permille how many in a thousand. */
export async function lose(namespace: Namespace, permille: number): Promise<Loss> {
  const loss = await prepareLoss(namespace);
  await loss.set(permille);
  return loss;
}

/** The same with a rate that can be changed, 0 at first. */
export async function prepareLoss(namespace: Namespace): Promise<AdjustableLoss> {
  const ip = (...args: string[]): Promise<unknown> => namespace.run('ip', args);
  // The peer stays down.
  await ip('link', 'add', NOWHERE, 'type', 'veth', 'peer', 'name', 'nowhere1');
  await ip('link', 'set', NOWHERE, 'up');
  // One segment a packet, so that what is lost is one frame.
  await ip('link', 'set', INTERFACE, 'gso_max_segs', '1');
  const set = async (permille: number): Promise<void> => {
    const random = `meta l4proto tcp ${permille < 1000 ? `numgen random mod 1000 < ${permille}` : ''}`;
    const rules = `table netdev lunet {}
    delete table netdev lunet
    table netdev lunet {
      counter incoming {}
      counter outgoing {}
      chain in {
        type filter hook ingress device "${INTERFACE}" priority 0;
        ${permille > 0 ? `${random} counter name incoming drop;` : ''}
      }
      chain out {
        type filter hook egress device "${INTERFACE}" priority 0;
        ${permille > 0 ? `${random} counter name outgoing fwd to "${NOWHERE}";` : ''}
      }
    }
    `;
    await namespace.run('nft', ['-f', '-'], { input: rules });
  };
  await set(0);
  const count = async (name: string): Promise<number> => {
    const { stdout } = await namespace.run('nft', ['-j', 'list', 'counter', 'netdev', 'lunet', name]);
    const { nftables } = JSON.parse(stdout) as { nftables: { counter?: { packets: number } }[] };
    return nftables.reduce((sum, item) => sum + (item.counter?.packets ?? 0), 0);
  };
  return {
    set,
    async counts() {
      return { incoming: await count('incoming'), outgoing: await count('outgoing') };
    },
  };
}
