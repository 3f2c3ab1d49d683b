import { type Browser, chromium } from 'playwright-core';
import { locate } from './programs.js';

/** A headless Chromium from the system. */
export function launchChromium(): Promise<Browser> {
  // As root, in a container: Chromium's own sandbox needs a user. Only our own pages are opened.
  const args = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  return chromium.launch({ executablePath: locate('chromium'), args });
}
