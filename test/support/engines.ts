/** What a test of the client asks of a browser, whichever it is. */

import { eventually } from './eventually.js';

export interface Tab {
  /** @param expression JavaScript; a promise is awaited @returns its value, which JSON can hold */
  evaluate<T>(expression: string): Promise<T>;
  close(): Promise<void>;
}

export interface Engine<T extends Tab = Tab> {
  /** Resolves when the page is there. */
  openTab(url: string): Promise<T>;
  /** Lets a page rest as this browser itself does: no script of it runs. @returns wakes it, and says whether it is as it was */
  freeze(tab: T): Promise<() => Promise<boolean>>;
  /** Throws a page out of memory as this browser itself does when that is short. Not every driver lives through that. */
  discard?(tab: T): Promise<void>;
  /** Where a browser can be told. */
  setOffline?(isOffline: boolean): Promise<void>;
  close(): Promise<void>;
}

/**
 * Where a browser freezes no page but those in its back/forward cache.
 *
 * @param mayBeGone the browser may not keep the page: it is loaded anew then, without a client
 */
export async function freezeInCache(tab: Tab, mayBeGone = false): Promise<() => Promise<boolean>> {
  const is = (expression: string) => tab.evaluate<boolean>(expression).catch(() => false);
  const path = await tab.evaluate<string>('location.pathname');
  await tab.evaluate("void setTimeout(() => { location.href = '/api/version'; }, 0)");
  await eventually(() => is("location.pathname === '/api/version'"), {
    within: 10_000,
    what: 'another page',
  });
  return async () => {
    await tab.evaluate('void setTimeout(() => history.back(), 0)');
    const isBack = () => is(`location.pathname === '${path}' && document.readyState === 'complete'`);
    await eventually(isBack, { within: 10_000, what: 'the page' });
    const isAsItWas = await is("'client' in globalThis");
    if (!isAsItWas && !mayBeGone) throw new Error('the page was loaded anew');
    return isAsItWas;
  };
}
