/** Waits until `condition` gives something that is not false or undefined. */
export async function eventually<T>(
  condition: () => T | Promise<T>,
  { within = 5_000, what = 'the condition' } = {},
): Promise<Exclude<T, false | undefined>> {
  const deadline = performance.now() + within;
  for (;;) {
    const result = await condition();
    if (result !== false && result !== undefined) return result as Exclude<T, false | undefined>;
    if (performance.now() > deadline) throw new Error(`${what} did not come true in ${within} ms`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
