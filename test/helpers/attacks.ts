// Runs attacks of `lunet attack` as tests, and prints what they did.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Attack, type AttackResult, attackMarkdown, runAttack } from '../../src/host/attack/run.js';

/** A test for each: what must hold during it holds, and something was tried. */
export function testAttacks(attacks: readonly Attack[]): void {
  const results: AttackResult[] = [];
  for (const attack of attacks) {
    test(`${attack.name}: ${attack.about}`, () => {
      const result = runAttack(attack);
      results.push(result);
      assert.equal(result.failures, [], attackMarkdown([result]));
      assert.ok(result.frames > 0, 'something was sent');
    });
  }
  test.after(() => console.log(attackMarkdown(results)));
  test.run();
}
