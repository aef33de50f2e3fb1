import { createNet, type Net } from '../../../src/host/net/index.js';
import { openStack, type Stack, type StackOptions } from '../../../src/host/stack.js';

/** lunet/net on a link of its own. What the test wants otherwise is in LUNET_TEST_STACK, as JSON. */
export async function openLunet(link: string): Promise<{ net: Net; stack: Stack }> {
  const options = JSON.parse(process.env.LUNET_TEST_STACK ?? '{}') as Partial<StackOptions>;
  const stack = await openStack({ link, ...options });
  return { net: createNet(stack), stack };
}
