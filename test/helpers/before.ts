/** Wraps a test.before() hook: uvu ends a file without a word when one throws. */
export function loudly(hook: () => void | Promise<void>): () => Promise<void> {
  return async () => {
    try {
      await hook();
    } catch (error) {
      console.log('before the tests:', error instanceof Error ? error.stack : error);
      throw error;
    }
  };
}
