import type { BrowserContext, Page } from 'playwright-core';
import { eventually } from './eventually.js';

const DISCARDS = 'chrome://discards';
/** Presses "Enable internal debugging pages"; the page is made of nested shadow trees. */
const ENABLE = `(() => {
  const press = (root) => [...root.querySelectorAll('*')].some((it) =>
    /button/i.test(it.tagName) && /enable/i.test(it.textContent) ? (it.click(), true) : it.shadowRoot && press(it.shadowRoot));
  return press(document) || undefined;
})()`;
const TITLE = 'to be discarded';
const DISCARD = `(async () => {
  const { DetailsProvider } = await import('${DISCARDS}/discards.mojom-webui.js');
  const provider = DetailsProvider.getRemote();
  const find = async () => (await provider.getTabDiscardsInfo()).infos.find(({ title }) => title === '${TITLE}');
  const tab = await find();
  if (tab) await provider.discardById(tab.id, 0);
  return (await find())?.discardCount === 1;
})()`;

/** Discards a tab as Chromium itself does when memory is short. */
export async function discard(context: BrowserContext, page: Page): Promise<void> {
  const tools = await context.newPage();
  await tools.goto(DISCARDS);
  if ((await tools.title()) !== 'Discards') {
    await tools.goto('chrome://chrome-urls');
    await eventually(() => tools.evaluate<true | undefined>(ENABLE), { what: 'the button' });
    await tools.goto(DISCARDS);
  }
  await page.evaluate(`document.title = '${TITLE}'`);
  const closed = page.waitForEvent('close');
  await eventually(() => tools.evaluate<boolean>(DISCARD), { what: 'a discarded tab' });
  await closed;
  await tools.close();
}
