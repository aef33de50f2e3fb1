// A path that marks packets instead of losing them (RFC 3168): both ends are told, slow down, and retransmit nothing.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loudly } from '../helpers/before.js';
import { createEndpoints, type Endpoints, exchange, FAMILIES, other, type Side } from '../helpers/endpoints.js';
import { INTERFACE } from '../helpers/netns.js';
import { contentHash } from './programs/content.js';
import type { Outcome } from './programs/endpoint.js';

const SIDES: readonly Side[] = ['lunet', 'kernel'];
const BYTES = 8 << 20;
/** Of INFO_options: agreed on. */
const ECN = 8;

let ends: Endpoints;

test.before(
  loudly(async () => {
    ends = await createEndpoints();
    await ends.sysctl({ tcp_no_metrics_save: 1 });
    // One segment a packet, so that a mark is one frame's.
    await ends.pair.b.run('ip', ['link', 'set', INTERFACE, 'gso_max_segs', '1']);
    const mark = 'numgen random mod 50 < 1';
    const rules = ['ip', 'ip6'].map((ip) => `${ip} ecn { ect0, ect1 } ${mark} ${ip} ecn set ce;`).join('\n');
    const chain = (hook: string): string => `chain ${hook} {
      type filter hook ${hook} device "${INTERFACE}" priority 0;
      ${rules}
    }`;
    const table = `table netdev marks {
    ${chain('ingress')}
    ${chain('egress')}
    }
    `;
    await ends.pair.b.run('nft', ['-f', '-'], { input: table });
  }),
);

test.after(() => ends.dispose());

for (const family of FAMILIES) {
  for (const client of SIDES) {
    for (const congestion of ['reno', 'cubic', 'dctcp'] as const) {
      // Linux does not agree with a client of DCTCP's unless it runs that itself.
      if (congestion === 'dctcp' && client === 'lunet') continue;
      for (const kernelEcn of client === 'kernel' ? [1] : [1, 2]) {
        const asked = kernelEcn === 1 ? 'wants ECN' : 'agrees to ECN';
        test(`IPv${family}, ${client} connects, lunet with ${congestion}, Linux ${asked}`, async () => {
          await ends.kernelCongestion('cubic');
          await ends.sysctl({ tcp_ecn: kernelEcn });
          await ends.open({ congestion, ecn: client === 'lunet' ? 'on' : 'accept' });
          for (const sender of SIDES) {
            const before = await ends.counters('kernel');
            const start = await ends.counters('lunet');
            const jobs = { lunet: { seed: 1, bytes: 0 }, kernel: { seed: 2, bytes: 0 } };
            jobs[sender].bytes = BYTES;
            const outcomes = await exchange(ends, client, jobs, { family });
            const received: Outcome = outcomes[other(sender)][0];
            assert.is(received.error, '');
            assert.is(received.hash, contentHash(jobs[sender].seed, BYTES));
            assert.is(outcomes.lunet[0].options & ECN, ECN);
            const lunet = await ends.counters('lunet');
            const kernel = await ends.counters('kernel');
            assert.is(lunet.TcpRetransSegs, 0);
            if (sender === 'lunet') {
              assert.ok(lunet.TcpExtTCPECNReductions > start.TcpExtTCPECNReductions, 'lunet was told and slowed down');
            } else {
              assert.ok(lunet.IpInCEPkts > start.IpInCEPkts, 'marks arrived at lunet');
              assert.ok(kernel.TcpExtTCPDeliveredCE > before.TcpExtTCPDeliveredCE, 'lunet told Linux');
            }
          }
          await ends.close();
        });
      }
    }
  }
}

test.run();
