import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { needsOf } from '../support/needs.js';
import { locate, provide, runsElsewhere } from '../support/programs.js';

const TESTS = resolve(import.meta.dirname, '..');
const filesOf = (folder: string): string[] =>
  readdirSync(join(TESTS, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => join(TESTS, folder, file));

afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});

describe('what test files need', () => {
  it('is nothing for the unit tests', () => {
    expect(needsOf(filesOf('unit'))).toEqual(new Set());
  });

  it('is found through what they import', () => {
    expect(needsOf([join(TESTS, 'browser/accessibility.test.ts')])).toEqual(new Set(['chromium']));
    expect(needsOf([join(TESTS, 'integration/amqp.test.ts')])).toContain('python3-kombu');
    expect(needsOf([join(TESTS, 'contract/database.test.ts')])).toContain('postgresql');
  });

  it('stands in one file: no other one installs, or knows where Debian has something', () => {
    const others = filesOf('.').filter(
      (file) => !/support\/programs\.ts$|unit\/programs\.test\.ts$/.test(file),
    );
    expect(others.filter((file) => /apt-get|'\/usr\//.test(readFileSync(file, 'utf8')))).toEqual([]);
  });
});

describe('what is missing', () => {
  const nothing = () => {
    vi.spyOn(process as { getuid(): number }, 'getuid').mockReturnValue(1000);
    vi.stubEnv('CHROMIUM', '/nowhere/chromium');
    vi.stubEnv('SQLITE3', '/nowhere/sqlite3');
  };

  it('is told all at once, with the one command and what may be set instead', () => {
    nothing();
    expect(() => provide(['chromium', 'sqlite3'])).toThrow(
      [
        'The tests need programs that this machine lacks. Their Debian packages:',
        '  chromium (or set CHROMIUM)',
        '  sqlite3 (or set SQLITE3)',
        'One command installs them all:',
        '  sudo apt-get install -y --no-install-recommends chromium sqlite3',
        'The unit tests need none of them: npm run test:unit',
      ].join('\n'),
    );
  });

  it('is told by the test that wants it, where nobody looked before', () => {
    nothing();
    const browser = 'chromium';
    expect(() => locate(browser)).toThrow('chromium (or set CHROMIUM)');
  });

  it('is not a server that runs elsewhere', () => {
    vi.stubEnv('TEST_AMQP_URL', 'amqp://broker.example.org');
    expect(runsElsewhere('rabbitmq-server')).toBe(false);
    vi.stubEnv('TEST_RABBITMQ_MANAGEMENT_URL', 'http://broker.example.org:15672');
    expect(runsElsewhere('rabbitmq-server')).toBe(true);
  });

  it('has a line in the table', () => {
    expect(() => provide(['chromiun'])).toThrow('has no line for "chromiun"');
  });
});
