/** The examples of docs/stream.md, run as they stand there. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchChromium } from '../support/chromium.js';
import { DEMO, Installation } from '../support/installation.js';
import { locate } from '../support/programs.js';

const page = readFileSync(resolve(import.meta.dirname, '../../docs/stream.md'), 'utf8');

/** The example of that name, with the address of the running server in the place of the demo's. */
function example(name: string, url: string): string {
  const found = new RegExp(`<!-- example: ${name} -->\\n\`\`\`\\w+\\n([\\s\\S]*?)\`\`\``).exec(page);
  if (!found) throw new Error(`docs/stream.md has no example ${name}`);
  expect(found[1]).toContain('http://127.0.0.1:8080');
  return found[1]!.replaceAll('http://127.0.0.1:8080', url);
}

let here: Installation;
let url: string;
let html = '';
const site = createServer((_request, response) => {
  response.setHeader('content-type', 'text/html');
  response.end(html);
});

beforeAll(async () => {
  here = Installation.embedded();
  await new Promise<void>((listening) => site.listen(0, '127.0.0.1', listening));
  const origin = `http://127.0.0.1:${(site.address() as AddressInfo).port}`;
  ({ url } = await here.worker({ sse: { allowed_origins: [origin] } }));
});
afterAll(async () => {
  site.close();
  await here.close();
});

/** Changes a history of Alice once the program is connected, and waits until the program has printed it. */
async function printsTheChange(child: ChildProcess): Promise<void> {
  let printed = '';
  child.stdout!.setEncoding('utf8').on('data', (text: string) => {
    printed += text;
  });
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    printed += text;
  });
  try {
    await expect.poll(() => printed, { timeout: 10_000 }).toContain('ready');
    await here.change(DEMO.histories.alice);
    await expect.poll(() => printed, { timeout: 10_000 }).toContain(here.encode(DEMO.histories.alice));
    expect(printed).toContain('history_update');
  } finally {
    child.kill('SIGKILL');
  }
}

describe('the examples of docs/stream.md work as they stand', () => {
  it('curl', () => {
    locate('curl');
    return printsTheChange(spawn('bash', ['-c', `exec ${example('curl', url)}`]));
  });

  it('Python', () => printsTheChange(spawn(locate('python3'), ['-u', '-c', example('python', url)])));

  it('Node.js', () =>
    printsTheChange(spawn(process.execPath, ['--input-type=module', '-e', example('node', url)])));

  it('a page of ten lines, in a browser', async () => {
    html = example('html', url);
    expect(html.trimEnd().split('\n').length).toBeLessThanOrEqual(11);
    const browser = await launchChromium();
    try {
      const tab = await browser.newPage();
      const connected = tab.waitForResponse((response) => response.url().includes('/api/events/stream'));
      await tab.goto(`http://127.0.0.1:${(site.address() as AddressInfo).port}/`);
      expect((await connected).status()).toBe(200);
      await here.change(DEMO.histories.alice);
      await tab.getByText(here.encode(DEMO.histories.alice)).waitFor();
    } finally {
      await browser.close();
    }
  });
});
