import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { discard } from './discard.js';
import type { Engine, Tab } from './engines.js';
import { locate } from './programs.js';

/** What Playwright disables: of two such arguments the last counts. */
const BY_PLAYWRIGHT = [
  'AvoidUnnecessaryBeforeUnloadCheckSync',
  'DestroyProfileOnBrowserClose',
  'HttpsUpgrades',
  'HttpsFirstBalancedModeAutoEnable',
  'LensOverlay',
  'MediaRouter',
  'PaintHolding',
  'ThirdPartyStoragePartitioning',
  'AvoidCorsURLLoaderRestartOnRedirect',
  'OptimizationHints',
  'NetworkTimeServiceQuerying',
  'AimEnabled',
  'PreconnectToSearch',
];
/** The address bar's popups are pages of Chromium's own in each window: half of what a tab costs, and nobody sees them. */
const POPUPS = [
  'WebUIOmniboxPopup',
  'WebUIOmniboxAimPopup',
  'WebUIOmniboxFullPopup',
  'PreloadTopChromeWebUI',
];

/** A headless Chromium from the system. */
export function launchChromium(
  options: { args?: string[]; ignoreDefaultArgs?: string[] } = {},
): Promise<Browser> {
  // As root, in a container: Chromium's own sandbox needs a user. Only our own pages are opened.
  const args = [
    `--disable-features=${[...BY_PLAYWRIGHT, ...POPUPS].join()}`,
    ...(options.args ?? []),
    ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
  ];
  return chromium.launch({ ...options, executablePath: locate('chromium'), args });
}

export interface ChromiumTab extends Tab {
  readonly page: Page;
}

export interface ChromiumEngine extends Engine<ChromiumTab> {
  readonly context: BrowserContext;
}

export async function chromiumEngine(
  options: Parameters<typeof launchChromium>[0] = {},
): Promise<ChromiumEngine> {
  const browser = await launchChromium(options);
  const context = await browser.newContext();
  return {
    context,
    openTab: async (url) => {
      const page = await context.newPage();
      await page.goto(url);
      return { page, evaluate: (expression) => page.evaluate(expression), close: () => page.close() };
    },
    freeze: async ({ page }) => {
      const session = await context.newCDPSession(page);
      await session.send('Page.setWebLifecycleState', { state: 'frozen' });
      return async () => {
        await session.send('Page.setWebLifecycleState', { state: 'active' });
        await session.detach();
        return true;
      };
    },
    discard: ({ page }) => discard(context, page),
    setOffline: (isOffline) => context.setOffline(isOffline),
    close: () => browser.close(),
  };
}
