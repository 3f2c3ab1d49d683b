import { type Browser, type BrowserContext, chromium } from 'playwright-core';
import type { Engine } from './engines.js';
import { locate } from './programs.js';

/** A headless Chromium from the system. */
export function launchChromium(): Promise<Browser> {
  // As root, in a container: Chromium's own sandbox needs a user. Only our own pages are opened.
  const args = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  return chromium.launch({ executablePath: locate('chromium'), args });
}

export async function chromiumEngine(): Promise<Engine> {
  const browser = await launchChromium();
  const context: BrowserContext = await browser.newContext();
  return {
    openTab: async (url) => {
      const page = await context.newPage();
      await page.goto(url);
      return { evaluate: (expression) => page.evaluate(expression), close: () => page.close() };
    },
    close: () => browser.close(),
  };
}
