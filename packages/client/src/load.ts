const failures = new Map<string, number>();

/**
 * Loads a module that not every page needs. Where that failed, a browser answers its address with the failure for as long as the
 * page lives (whatwg/html#6768): the next time it is asked for under another one.
 */
export async function load<Module>(first: () => Promise<Module>, { href }: URL): Promise<Module> {
  const failed = failures.get(href) ?? 0;
  try {
    return await (failed === 0 ? first() : import(/* @vite-ignore */ `${href}?again=${failed}`));
  } catch (error) {
    failures.set(href, failed + 1);
    throw error;
  }
}
